#include "cli/npz.h"

#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

// numpy.savez(f, x=numpy.array([1, 2], "<f4"), label=numpy.array([7], "|u1")), and the same by savez_compressed().
constexpr char kStored[] =
    "504b03042d0000000000000021009acaabe7ffffffffffffffff05001400782e6e70790100100088000000000000008800000000000000"
    "934e554d5059010076007b276465736372273a20273c6634272c2027666f727472616e5f6f72646572273a2046616c73652c2027736861"
    "7065273a2028322c292c207d20202020202020202020202020202020202020202020202020202020202020202020202020202020202020"
    "20202020202020202020202020202020200a0000803f00000040504b03042d0000000000000021004e17c529ffffffffffffffff090014"
    "006c6162656c2e6e70790100100081000000000000008100000000000000934e554d5059010076007b276465736372273a20277c753127"
    "2c2027666f727472616e5f6f72646572273a2046616c73652c20277368617065273a2028312c292c207d20202020202020202020202020"
    "20202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020200a07504b01022d03"
    "2d0000000000000021009acaabe78800000088000000050000000000000000000000800100000000782e6e7079504b01022d032d000000"
    "0000000021004e17c52981000000810000000900000000000000000000008001bf0000006c6162656c2e6e7079504b0506000000000200"
    "02006a0000007b0100000000";
constexpr char kDeflated[] =
    "504b03042d0000000800000021009acaabe7ffffffffffffffff05001400782e6e70790100100088000000000000004c00000000000000"
    "9bec17ea1b10c9c850c650ad9e925a9c5ca46ea5a06e9366a2aea3a09e965f54529498179f5f94920a12774bcc294e058a17672416a402"
    "f91a463a9a3a0ab50a14002e0686067b0606060700504b03042d0000000800000021004e17c529ffffffffffffffff090014006c616265"
    "6c2e6e707901001000810000000000000045000000000000009bec17ea1b10c9c850c650ad9e925a9c5ca46ea5a05e536aa8aea3a09e96"
    "5f54529498179f5f94920a12774bcc294e058a17672416a402f91a863a9a3a0ab50a14002e7600504b01022d032d000000080000002100"
    "9acaabe74c00000088000000050000000000000000000000800100000000782e6e7079504b01022d032d0000000800000021004e17c529"
    "45000000810000000900000000000000000000008001830000006c6162656c2e6e7079504b050600000000020002006a00000003010000"
    "0000";

TEST(Npz, ReadsWhatNumpyWrites) {
  TempFolder folder;
  for (const char* hex : {kStored, kDeflated}) {
    const auto arrays = ReadNpz(folder.Write("a.npz", absl::HexStringToBytes(hex)));
    ASSERT_TRUE(arrays.ok()) << arrays.status();
    ASSERT_EQ(arrays->size(), 2u);
    EXPECT_EQ((*arrays)[0].name, "x");
    EXPECT_EQ((*arrays)[0].tensor.data<float>()[1], 2);
    EXPECT_EQ((*arrays)[1].name, "label");
    EXPECT_EQ((*arrays)[1].tensor.data<uint8_t>()[0], 7);
  }
}

TEST(Npz, WhatIsCutShortOrDamagedIsRefused) {
  for (const char* hex : {kStored, kDeflated}) {
    const std::string file = absl::HexStringToBytes(hex);
    for (size_t size = 0; size < file.size(); ++size) {
      EXPECT_FALSE(ParseNpz(absl::string_view(file).substr(0, size)).ok()) << size;
    }
    // Most of the bytes matter; whichever is turned, nothing is read that is not there (sanitizers look on).
    for (size_t at = 0; at < file.size(); ++at) {
      std::string damaged = file;
      damaged[at] = static_cast<char>(damaged[at] ^ 0x5a);
      (void)ParseNpz(damaged);
    }
  }
}

TEST(Npz, ErrorsNameFileAndArray) {
  TempFolder folder;
  const auto other = ReadNpz(folder.Write("b.npz", "no archive at all, but text that is long enough"));
  EXPECT_THAT(std::string(other.status().message()), HasSubstr("b.npz': got no archive of arrays"));
  std::string file = absl::HexStringToBytes(kStored);
  const size_t at = file.find("NUMPY");
  file[at] = 'X';
  const auto damaged = ReadNpz(folder.Write("c.npz", file));
  EXPECT_THAT(std::string(damaged.status().message()), HasSubstr("c.npz': array 'x': got data that is damaged"));
  EXPECT_FALSE(ReadNpz(folder.path() + "/none.npz").ok());
}

}  // namespace
}  // namespace portico
