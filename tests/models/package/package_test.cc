#include "models/package/package.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

class PackageTest : public ::testing::Test {
 protected:
  PackageTest() {
    ModelBuilder builder;
    builder.Input("x", DType::kFloat, {"N", 2}).Input("k", DType::kFloat, {2});
    builder.Output("y", DType::kFloat, {"N", 2}).Output("z", DType::kFloat, {2});
    builder.Node("Add", {"x", "k"}, {"y"}).Node("Neg", {"k"}, {"z"});
    builder.WriteTo(folder_.File("m/7/model.onnx"));
  }
  absl::StatusOr<Package> Load(const std::string& yaml) {
    folder_.Write("m/7/servable.yaml", yaml);
    return LoadPackage("m", folder_.path() + "/m/7", store_);
  }
  Package Loaded(const std::string& yaml) {
    absl::StatusOr<Package> package = Load(yaml);
    EXPECT_TRUE(package.ok()) << package.status();
    PORTICO_CHECK(package.ok());
    return *std::move(package);
  }
  /// `message` without the file's path, as "servable.yaml:<line>: ...".
  void ExpectError(const std::string& yaml, const std::string& message) {
    const absl::Status status = Load(yaml).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << yaml;
    EXPECT_EQ(std::string(status.message()), folder_.path() + "/m/7/servable.yaml:" + message);
  }

  TempFolder folder_;
  WeightStore store_;
};

TEST_F(PackageTest, WithoutConfigTheGraphIsTheSignature) {
  const absl::StatusOr<Package> package = LoadPackage("m", folder_.path() + "/m/7/", store_);
  ASSERT_TRUE(package.ok()) << package.status();
  EXPECT_EQ(package->name, "m");
  EXPECT_EQ(package->version, 7);
  ASSERT_EQ(package->signatures.size(), 1u);
  EXPECT_EQ(package->signatures[0].name, "serving_default");
  EXPECT_EQ(package->signatures[0].inputs[0].ToString(), "float32[N,2]");
  EXPECT_EQ(package->signatures[0].outputs.size(), 2u);
  EXPECT_FALSE(package->axes_declared);
  EXPECT_EQ(package->batching.max_batch_size, 64);
  EXPECT_EQ(package->digest, *ModelDigest(package->model));
}

TEST_F(PackageTest, ConfigNamesTensorsAxesAndBatching) {
  const Package package = Loaded(R"(
signatures:
  cheap:
    outputs: {offset: {tensor: z}}
  serving_default:
    inputs:
      bias: {tensor: k}
      image: {tensor: x, axis: rows}
    outputs:
      y: {axis: rows}
      z:
batching: {max_batch_size: 8, max_delay_us: 100, max_queue_rows: 32, max_running: 2, shares: {digit: 2, a/b: 1}}
intra_op_threads: 3
max_workers: 1
)");
  ASSERT_EQ(package.signatures.size(), 2u);
  const Signature& main = package.signatures[0];
  EXPECT_EQ(main.name, "serving_default");
  ASSERT_EQ(main.inputs.size(), 2u);
  EXPECT_EQ(main.inputs[0].name, "image") << "in the order of the graph";
  EXPECT_EQ(main.inputs[0].graph_name, "x");
  EXPECT_EQ(main.inputs[0].axis, AxisKind::kRows);
  EXPECT_EQ(main.inputs[0].ToString(), "float32[N,2]");
  EXPECT_EQ(main.inputs[1].name, "bias");
  EXPECT_EQ(main.inputs[1].axis, AxisKind::kShared);
  EXPECT_EQ(main.outputs[0].axis, AxisKind::kRows);
  EXPECT_EQ(main.outputs[1].name, "z");
  const Signature* cheap = package.FindSignature("cheap");
  ASSERT_NE(cheap, nullptr);
  EXPECT_EQ(cheap->inputs.size(), 2u);
  ASSERT_EQ(cheap->outputs.size(), 1u);
  EXPECT_EQ(cheap->outputs[0].name, "offset");
  EXPECT_EQ(package.FindSignature("other"), nullptr);
  EXPECT_TRUE(package.axes_declared);
  EXPECT_EQ(package.batching.max_batch_size, 8);
  EXPECT_EQ(package.batching.max_delay_us, 100);
  EXPECT_EQ(package.batching.max_queue_rows, 32);
  EXPECT_EQ(package.batching.max_running, 2);
  EXPECT_EQ(package.batching.shares, (std::map<std::string, int64_t>{{"digit", 2}, {"a/b", 1}}));
  EXPECT_EQ(package.intra_op_threads, 3);
  EXPECT_EQ(package.max_workers, 1);
}

TEST_F(PackageTest, EmptyConfigChangesNothing) {
  EXPECT_EQ(Loaded("").signatures.size(), 1u);
  EXPECT_EQ(Loaded("# only a comment\n").signatures.size(), 1u);
}

TEST_F(PackageTest, LeavingOutputsOutChangesTheDigest) {
  const Digest plain = Loaded("").digest;
  EXPECT_EQ(Loaded("signatures: {serving_default: {inputs: {a: {tensor: x}, k: }}}").digest, plain);
  const Digest narrowed = Loaded("signatures: {serving_default: {outputs: {z: }}}").digest;
  EXPECT_NE(narrowed, plain);
  EXPECT_NE(Loaded("signatures: {serving_default: {outputs: {y: }}}").digest, narrowed);
}

TEST_F(PackageTest, UnknownKeysAreRefusedWithLine) {
  ExpectError("batching: {}\nsignature: {}\n",
              "2: key 'signature': got an unknown key, want one of signatures, batching, intra_op_threads, "
              "max_workers, result_cache_mib");
  ExpectError(
      "batching:\n  batch: 1\n",
      "2: key 'batch': got an unknown key, want one of "
      "max_batch_size, max_delay_us, max_queue_rows, max_running, allowed_batch_sizes, pad_variable_length_inputs, "
      "enable_large_batch_splitting, adaptive, shares");
  ExpectError("signatures:\n  s:\n    in: {}\n", "3: key 'in': got an unknown key, want one of inputs, outputs");
  ExpectError("signatures:\n  s:\n    inputs:\n      x: {axes: rows}\n",
              "4: key 'axes': got an unknown key, want one of tensor, axis, row_splits, row_starts, row_lengths, "
              "segment_ids");
}

TEST_F(PackageTest, BadValuesAreRefusedWithLine) {
  ExpectError("intra_op_threads: 0\n", "1: key 'intra_op_threads': got '0', want a whole number from 1 to 1024");
  ExpectError("batching:\n  max_batch_size: many\n",
              "2: key 'max_batch_size': got 'many', want a whole number from 1 to 1048576");
  ExpectError("batching:\n  shares:\n    digit: 0\n", "3: key 'digit': got '0', want a whole number from 1 to 1000");
  ExpectError("batching:\n  shares: [digit]\n", "2: shares: got no map, want 'key: value' lines");
  std::string many = "batching:\n  shares:\n";
  for (int i = 0; i < 65; ++i) absl::StrAppend(&many, "    p", i, ": 2\n");
  ExpectError(many, "2: shares: got 65 products, want at most 64; leave out those whose share is 1");
  ExpectError("batching: 3\n", "1: batching: got no map, want 'key: value' lines");
  ExpectError("- a\n- b\n", "1: servable.yaml: got no map, want 'key: value' lines");
  ExpectError("batching: {}\nbatching: {}\n", "2: servable.yaml: got key 'batching' twice, want it once");
  ExpectError("signatures:\n",
              "1: signatures: got none, want at least one; leave the key out to serve the graph as it is");
  ExpectError("signatures: {s: {inputs: {x: {axis: row}, k: }}}\n", "1: axis: got 'row', want shared, rows or ragged");
  EXPECT_THAT(std::string(Load("a: [1\nb: 2").status().message()), HasSubstr("servable.yaml:2: YAML: "));
  EXPECT_EQ(Load(std::string(100'000, '[')).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Load(std::string(2 << 20, ' ')).status().code(), absl::StatusCode::kInvalidArgument);
}

class RaggedPackageTest : public PackageTest {
 protected:
  RaggedPackageTest() {
    ModelBuilder builder;
    builder.Input("ids", DType::kInt64, {"V"}).Input("splits", DType::kInt64, {"S"}).Input("x", DType::kFloat, {"N"});
    builder.Output("y", DType::kFloat, {"N"}).Node("Neg", {"x"}, {"y"});
    builder.WriteTo(folder_.File("m/7/model.onnx"));
  }
  static std::string Inputs(const std::string& inputs) { return "signatures: {s: {inputs: {" + inputs + "}}}"; }
};

TEST_F(RaggedPackageTest, ValuesAreTiedToWhatDividesThem) {
  const Package package = Loaded(Inputs("tokens: {tensor: ids, row_splits: splits}, splits: , x: {axis: rows}"));
  const Signature& signature = package.signatures[0];
  EXPECT_EQ(signature.inputs[0].axis, AxisKind::kRagged);
  EXPECT_EQ(signature.inputs[0].partition, RowPartition::kRowSplits);
  EXPECT_EQ(signature.inputs[0].partition_input, "splits");
  EXPECT_EQ(signature.inputs[1].axis, AxisKind::kRagged);
  EXPECT_EQ(signature.inputs[1].partition, RowPartition::kNone);
  EXPECT_TRUE(package.axes_declared);
}

TEST_F(RaggedPackageTest, DeclarationsThatDoNotHoldAreRefused) {
  ExpectError(Inputs("ids: {axis: ragged}, splits: , x: "),
              "1: input 'ids': got axis ragged alone, want row_splits, row_starts, row_lengths or segment_ids beside "
              "it, with the name of the input that divides it into rows");
  ExpectError(Inputs("ids: {row_splits: offsets}, splits: , x: "),
              "1: input 'ids': got row_splits 'offsets', want the name of another input");
  ExpectError(Inputs("ids: {row_splits: x}, splits: , x: "),
              "1: input 'ids': got row_splits 'x', float32[N], want int32 or int64 of rank 1 whose extent varies");
  ExpectError(Inputs("ids: {row_splits: splits}, splits: , x: {row_starts: splits}"),
              "1: input 'x': got row_starts 'splits', want row_splits as another input has it");
  ExpectError(Inputs("ids: {row_splits: splits}, splits: {row_splits: ids}, x: "),
              "1: input 'ids': got axis ragged for what divides another input into rows, want one level of rows");
  ExpectError(Inputs("ids: {segment_ids: splits}, splits: , x: "),
              "1: input 'ids': got segment_ids, which say nothing of empty rows at the end, want an input of axis rows "
              "too");
  ExpectError(Inputs("ids: {row_splits: splits, row_lengths: splits}, splits: , x: "),
              "1: tensor 'ids': got both row_splits and row_lengths, want one");
  ExpectError(Inputs("ids: {axis: rows, row_splits: splits}, splits: , x: "),
              "1: tensor 'ids': got axis rows and row_splits, want axis ragged");
  ExpectError("signatures: {s: {outputs: {y: {axis: ragged}}}}",
              "1: output 'y': got axis ragged, want rows or shared; outputs count rows");
}

TEST_F(PackageTest, SignaturesAreHeldAgainstTheGraph) {
  ExpectError("signatures:\n  s:\n    inputs:\n      image: {tensor: w}\n",
              "4: input 'image': got tensor 'w', want one of the graph's inputs: x, k");
  ExpectError("signatures:\n  s:\n    outputs:\n      x:\n",
              "4: output 'x': got tensor 'x', want one of the graph's outputs: y, z");
  ExpectError("signatures:\n  s:\n    inputs: {x: }\n",
              "2: signature 's': got no input for tensor 'k' of the graph, want every input of the graph");
  ExpectError("signatures:\n  s:\n    inputs:\n      x:\n      a: {tensor: x}\n      k:\n",
              "5: input 'a': got tensor 'x', want another: 'x' stands for it already");
  ExpectError("signatures:\n  s:\n    outputs: {}\n", "2: signature 's': got no outputs, want at least one");
  ExpectError("signatures:\n  s:\n    outputs:\n      z: {axis: rows}\n",
              "4: output 'z': got axis rows for float32[2], want shared; its dim 0 does not vary");
}

TEST_F(PackageTest, BadModelsAreNamed) {
  const auto message = [this](const std::string& folder) {
    return std::string(LoadPackage("m", folder_.path() + "/" + folder, store_).status().message());
  };
  const std::string whole = folder_.Read("m/7/model.onnx");
  folder_.Write("m/8/model.onnx", whole.substr(0, whole.size() / 2));
  EXPECT_THAT(message("m/8"), HasSubstr("m/8/model.onnx': got "));
  folder_.Write("m/9/model.onnx", "<html>404 not found</html>");
  EXPECT_THAT(message("m/9"), HasSubstr("truncated or not ONNX"));
  folder_.Folder("m/10");
  EXPECT_EQ(LoadPackage("m", folder_.path() + "/m/10", store_).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(message("m/latest"), HasSubstr("want one named by its version"));
  ModelBuilder cyclic;
  cyclic.Output("y", DType::kFloat, {1}).Node("Relu", {"y"}, {"y"}).WriteTo(folder_.File("m/11/model.onnx"));
  EXPECT_THAT(message("m/11"), HasSubstr("m/11/model.onnx': graph: node 'y' (Relu): its inputs depend on its own"));
}

TEST_F(PackageTest, VersionsAreListedRising) {
  for (const char* name : {"m/10", "m/0003", "m/v2", "m/-1", "m/99999999999999999999", "m/latest"}) {
    folder_.Folder(name);
  }
  folder_.Write("m/5", "a file");
  const absl::StatusOr<std::vector<VersionFolder>> versions = ListVersions(folder_.path() + "/m");
  ASSERT_TRUE(versions.ok()) << versions.status();
  ASSERT_EQ(versions->size(), 3u);
  EXPECT_EQ((*versions)[0].version, 3);
  EXPECT_EQ((*versions)[0].folder, folder_.path() + "/m/0003");
  EXPECT_EQ((*versions)[1].version, 7);
  EXPECT_EQ((*versions)[2].version, 10);
}

TEST_F(PackageTest, ListingAMissingFolderIsNotFound) {
  EXPECT_EQ(ListVersions(folder_.path() + "/none").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(PackageTest, VersionThatIsThereTwiceIsRefused) {
  folder_.Folder("m/07");
  EXPECT_THAT(std::string(ListVersions(folder_.path() + "/m").status().message()), HasSubstr("got version 7 twice"));
}

}  // namespace
}  // namespace portico
