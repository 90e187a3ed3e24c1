#include "cli/npy.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;
using namespace std::string_literals;

/// What numpy.save() writes, format 1.
std::string Npy(absl::string_view header, absl::string_view data) {
  std::string file("\x93NUMPY\x01\x00", 8);
  file.push_back(static_cast<char>(header.size() & 0xff));
  file.push_back(static_cast<char>(header.size() >> 8));
  return absl::StrCat(file, header, data);
}

class NpyTest : public ::testing::Test {
 protected:
  absl::StatusOr<Tensor> Read(absl::string_view file) { return ReadNpy(folder_.Write("a.npy", file)); }
  const TempFolder folder_;
};

TEST_F(NpyTest, ReadsNumbersAndShape) {
  const float values[] = {1, 2, 3, 4, 5, 6};
  const absl::string_view data(reinterpret_cast<const char*>(values), sizeof values);
  const auto tensor = Read(Npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }        \n", data));
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  EXPECT_EQ(tensor->dtype(), DType::kFloat);
  EXPECT_EQ(tensor->shape(), Shape({2, 3}));
  EXPECT_EQ(tensor->data<float>()[5], 6.0f);
}

TEST_F(NpyTest, ReadsScalarsAndOneDimension) {
  EXPECT_EQ(Read(Npy("{'descr': '|u1', 'fortran_order': False, 'shape': (), }\n", "\x07"))->shape(), Shape());
  EXPECT_EQ(
      Read(Npy("{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }\n", absl::string_view("\1\0\1", 3)))->shape(),
      Shape({3}));
}

TEST_F(NpyTest, ReadsText) {
  const std::u32string wide = U"gr\u00f6\u00dfe\U0001f600\0\0"s + U"ab\0\0\0\0\0\0"s;
  const absl::string_view data(reinterpret_cast<const char*>(wide.data()), wide.size() * 4);
  const auto unicode = Read(Npy("{'descr': '<U8', 'fortran_order': False, 'shape': (2, 1), }\n", data));
  ASSERT_TRUE(unicode.ok()) << unicode.status();
  EXPECT_EQ(unicode->shape(), Shape({2, 1}));
  EXPECT_EQ(unicode->StringAt(0), "gr\u00f6\u00dfe\U0001f600");
  EXPECT_EQ(unicode->StringAt(1), "ab");
  const auto bytes =
      Read(Npy("{'descr': '|S3', 'fortran_order': False, 'shape': (3,), }\n", absl::string_view("ab\0\0\0\0xyz", 9)));
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(bytes->StringAt(0), "ab");
  EXPECT_EQ(bytes->StringAt(1), "");
  EXPECT_EQ(bytes->StringAt(2), "xyz");
}

TEST_F(NpyTest, RefusesWhatIsWrong) {
  const struct {
    std::string file;
    const char* want;
  } cases[] = {
      {"", "got no NumPy array"},
      {"PK\3\4 an archive", "got no NumPy array"},
      {std::string("\x93NUMPY\x01\x00\xff\xff{}", 12), "got a truncated header"},
      {Npy("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", "abcd"), "got elements '>f4'"},
      {Npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "abcd"), "got elements '|O'"},
      {Npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", "abcd"), "got Fortran order"},
      {Npy("{'descr': '<f4', 'fortran_order': False, }", "abcd"), "got a header without a shape"},
      {Npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "abcd"),
       "got 4 bytes of data, want 8 for float32[2]"},
      {Npy("{'descr': '<U2', 'fortran_order': False, 'shape': (2,), }", "abcd"), "got 4 bytes of data, want 16"},
      {Npy("{'descr': '<U1', 'fortran_order': False, 'shape': (1,), }", "\xff\xff\xff\xff"), "want Unicode"},
      {Npy("{'descr': '<U9999999999999', 'fortran_order': False, 'shape': (1,), }", "abcd"), "got elements '<U9"},
      {Npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }", "abcd"), ""},
  };
  for (const auto& test : cases) {
    const auto tensor = Read(test.file);
    EXPECT_TRUE(absl::IsInvalidArgument(tensor.status())) << test.file;
    EXPECT_THAT(std::string(tensor.status().message()), HasSubstr(test.want));
  }
}

}  // namespace
}  // namespace portico
