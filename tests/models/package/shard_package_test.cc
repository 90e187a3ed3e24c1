#include "models/package/shard_package.h"

#include <filesystem>

#include "embedding/lookup_call.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "models/package/folder_transaction.h"
#include "models/package/package.h"
#include "tests/embedding/shard_builder.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

TableSpec Clicks(RowType type = RowType::kFloat32) { return {.name = "clicks", .dim = 4, .row_type = type}; }

class ShardPackageTest : public ::testing::Test {
 protected:
  /// A package of `rows` rows in version folder "1".
  std::string Make(const std::string& name, size_t rows, const TableSpec& spec = Clicks()) {
    const std::string folder = folder_.Folder(name + "/1");
    EXPECT_TRUE(BuildShard(folder + "/table.shard", {{spec, rows}}).ok());
    const absl::Status written = WriteShardPackage(folder);
    EXPECT_TRUE(written.ok()) << written;
    return folder;
  }
  Digest DigestOf(const std::string& folder) {
    WeightStore store;
    const auto package = LoadPackage("clicks.0of1", folder, store);
    EXPECT_TRUE(package.ok()) << package.status();
    return package.ok() ? package->digest : Digest();
  }
  absl::Status ReadingFails(const std::string& file, const std::string& content) {
    ModelBuilder model;
    model.Opset("ai.portico", 1).Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"});
    model.Node("TableLookup", {"x"}, {"y"}, {String("file", file), String("content", content)}, "ai.portico");
    model.WriteTo(folder_.File("bad/1/model.onnx"));
    return ReadShardPackage(folder_.Folder("bad/1")).status();
  }

  TempFolder folder_;
};

TEST_F(ShardPackageTest, IsAPackageWithTheSignatureOfLookups) {
  const std::string folder = Make("a", 10);
  WeightStore store;
  const auto package = LoadPackage("clicks.0of1", folder, store);
  ASSERT_TRUE(package.ok()) << package.status();
  EXPECT_EQ(package->version, 1);
  ASSERT_EQ(package->signatures.size(), 1u);
  const Signature& signature = package->signatures[0];
  EXPECT_EQ(signature.name, LookupCall::kSignature);
  ASSERT_EQ(signature.inputs.size(), size_t{LookupCall::kInputs});
  ASSERT_EQ(signature.outputs.size(), size_t{LookupCall::kOutputs});
  for (size_t i = 0; i < signature.inputs.size(); ++i) {
    EXPECT_EQ(signature.inputs[i].name, LookupCall::kInputNames[i]);
  }
  for (size_t i = 0; i < signature.outputs.size(); ++i) {
    EXPECT_EQ(signature.outputs[i].name, LookupCall::kOutputNames[i]);
  }
  EXPECT_EQ(signature.inputs[LookupCall::kEntries].ToString(), "int32[K,4]");
  EXPECT_EQ(signature.outputs[LookupCall::kFound].ToString(), "int64[K,4]");
}

TEST_F(ShardPackageTest, NamesTheFileAndWhatIsInIt) {
  const std::string folder = Make("a", 10);
  const auto spec = ReadShardPackage(folder);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->file, "table.shard");
  EXPECT_EQ(spec->content, OpenShard(folder + "/table.shard")->layout().content);
  const auto path = ShardPath(folder, *spec);
  ASSERT_TRUE(path.ok()) << path.status();
  EXPECT_EQ(*path, std::filesystem::canonical(folder + "/table.shard"));
}

TEST_F(ShardPackageTest, EqualRowsEqualDigestAnyOtherRowAnother) {
  const std::string folder = Make("a", 10);
  EXPECT_EQ(DigestOf(folder), DigestOf(Make("same", 10)));
  EXPECT_NE(DigestOf(folder), DigestOf(Make("one_more_row", 11)));
  EXPECT_NE(DigestOf(folder), DigestOf(Make("other_type", 10, Clicks(RowType::kFloat16))));
  // The same but for one number of one row.
  const std::string other = folder_.Folder("other/1");
  auto writer = ShardWriter::Create(other + "/table.shard", {});
  ASSERT_TRUE(writer.ok() && (*writer)->BeginTable(Clicks()).ok());
  for (size_t row = 0; row < 10; ++row) {
    std::vector<float> values = RowValues(row, 4);
    if (row == 9) values[3] += 1;
    ASSERT_TRUE((*writer)->Add({.values = values}).ok());
  }
  ASSERT_TRUE((*writer)->EndTable().ok() && (*writer)->Commit().ok());
  ASSERT_TRUE(WriteShardPackage(other).ok());
  EXPECT_NE(DigestOf(folder), DigestOf(other));
}

TEST_F(ShardPackageTest, EitherSuperblockGivesTheSameContent) {
  const std::string folder = Make("a", 10);
  const Digest content = OpenShard(folder + "/table.shard")->layout().content;
  std::fstream file(folder + "/table.shard", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(20);
  file.put('\x55');
  file.close();
  EXPECT_EQ(OpenShard(folder + "/table.shard")->layout().content, content);
}

TEST_F(ShardPackageTest, FilesOutsideTheFolderAreRefused) {
  const std::string zeros(64, '0');
  for (const char* file : {"", ".", "..", "../table.shard", "/etc/passwd", "a/b"}) {
    const absl::Status status = ReadingFails(file, zeros);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("want the name of a file beside the model")) << file;
    EXPECT_FALSE(WriteShardPackage(folder_.path(), file).ok());
  }
  const std::string folder = Make("a", 10);
  std::filesystem::rename(folder + "/table.shard", folder_.File("elsewhere"));
  std::filesystem::create_symlink(folder_.File("elsewhere"), folder + "/table.shard");
  const auto spec = ReadShardPackage(folder);
  ASSERT_TRUE(spec.ok());
  EXPECT_THAT(std::string(ShardPath(folder, *spec).status().message()), HasSubstr("got a link to"));
}

TEST_F(ShardPackageTest, NodesThatSayTooLittleAreRefused) {
  EXPECT_THAT(std::string(ReadingFails("table.shard", "12").message()), HasSubstr("attribute 'content'"));
  EXPECT_THAT(std::string(ReadingFails("table.shard", std::string(64, 'a')).message()),
              HasSubstr("got 1 inputs and 1 outputs, want 6 and 2"));
}

TEST_F(ShardPackageTest, OtherModelsAreNoPackagesOfShards) {
  ModelBuilder model;
  model.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"}).Node("Neg", {"x"}, {"y"});
  model.WriteTo(folder_.File("neg/1/model.onnx"));
  EXPECT_THAT(std::string(ReadShardPackage(folder_.Folder("neg/1")).status().message()),
              HasSubstr("want one node TableLookup"));
  EXPECT_TRUE(absl::IsNotFound(ReadShardPackage(folder_.Folder("none")).status()));
}

TEST_F(ShardPackageTest, WithoutItsShardNothingIsWritten) {
  const std::string folder = folder_.Folder("empty/1");
  EXPECT_TRUE(absl::IsNotFound(WriteShardPackage(folder)));
  EXPECT_TRUE(std::filesystem::is_empty(folder));
}

TEST_F(ShardPackageTest, VersionFoldersAppearWholeOrNotAtAll) {
  const std::string path = folder_.path() + "/clicks/0of1/1";
  {
    FolderTransaction given_up;
    const auto folder = given_up.Begin(path);
    ASSERT_TRUE(folder.ok()) << folder.status();
    ASSERT_TRUE(BuildShard(*folder / "table.shard", {{Clicks(), 10}}).ok());
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
  FolderTransaction transaction;
  const auto folder = transaction.Begin(path);
  ASSERT_TRUE(folder.ok()) << folder.status();
  ASSERT_TRUE(BuildShard(*folder / "table.shard", {{Clicks(), 10}}).ok());
  ASSERT_TRUE(WriteShardPackage(folder->string()).ok());
  EXPECT_FALSE(std::filesystem::exists(path));
  ASSERT_TRUE(transaction.Commit().ok());
  EXPECT_TRUE(ReadShardPackage(path).ok());
}

}  // namespace
}  // namespace portico
