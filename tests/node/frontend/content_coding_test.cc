#include "node/frontend/content_coding.h"

#include <random>

#include "gtest/gtest.h"
#include "node/frontend/gunzip.h"

namespace portico {
namespace {

TEST(ContentCodingTest, TheClientsQValuesChoose) {
  using C = ContentCoding;
  const std::pair<const char*, C> cases[] = {{"", C::kIdentity},
                                             {"gzip", C::kGzip},
                                             {"deflate, gzip", C::kGzip},
                                             {"GZip;q=0.3", C::kGzip},
                                             {"x-gzip", C::kGzip},
                                             {"deflate", C::kDeflate},
                                             {"gzip;q=0.5, deflate;q=0.8", C::kDeflate},
                                             {"gzip;q=0, deflate", C::kDeflate},
                                             {"gzip;q=0", C::kIdentity},
                                             {"gzip; q=0.000", C::kIdentity},
                                             {"br, zstd", C::kIdentity},
                                             {"*", C::kGzip},
                                             {"*;q=0.1, gzip;q=0", C::kDeflate},
                                             {"*;q=0", C::kIdentity},
                                             {"identity, gzip;q=0.5", C::kIdentity},
                                             {"identity;q=0.5, gzip", C::kGzip},
                                             {"gzip;q=2", C::kIdentity},
                                             {"gzip;q=nan", C::kIdentity},
                                             {",,;;=,gzip;level=1", C::kGzip},
                                             {"gzipped", C::kIdentity}};
  for (const auto& [header, want] : cases) EXPECT_EQ(ChooseContentCoding(header), want) << header;
}

TEST(ContentCodingTest, WhatIsPackedUnpacks) {
  for (const size_t size : {1000u, 100'000u, 5'000'000u}) {
    std::string plain(size, 'x');
    for (size_t i = 0; i < size; i += 7) plain[i] = static_cast<char>('0' + i % 10);
    for (const ContentCoding coding : {ContentCoding::kGzip, ContentCoding::kDeflate}) {
      const std::string packed = Pack(coding, plain);
      ASSERT_FALSE(packed.empty());
      EXPECT_LT(packed.size(), plain.size() / 2);
      EXPECT_EQ(packed.substr(0, 2) == "\x1f\x8b", coding == ContentCoding::kGzip);
      const auto unpacked = Gunzip(packed, size);
      ASSERT_TRUE(unpacked.ok()) << unpacked.status();
      EXPECT_TRUE(*unpacked == plain);
    }
  }
}

TEST(ContentCodingTest, WhatDoesNotGetSmallerIsNotPacked) {
  std::mt19937_64 random(1);
  std::string noise(200'000, 0);
  for (char& c : noise) c = static_cast<char>(random());
  EXPECT_EQ(Pack(ContentCoding::kGzip, noise), "");
  EXPECT_EQ(Pack(ContentCoding::kGzip, "short"), "");
  EXPECT_EQ(Pack(ContentCoding::kGzip, ""), "");
  EXPECT_EQ(Pack(ContentCoding::kIdentity, std::string(1000, 'x')), "");
}

}  // namespace
}  // namespace portico
