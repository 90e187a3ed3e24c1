// Shards of tables as servables of real nodes: by TensorFlow Serving's and the v2 API, and from node to node.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "models/package/shard_package.h"
#include "tests/embedding/lookup_builder.h"
#include "tests/embedding/shard_builder.h"
#include "tests/integration/node_fixture.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kName[] = "clicks.0of1";
constexpr size_t kRows = 5000;
constexpr size_t kDim = 16;

void MakePackage(const std::string& folder) {
  const TableSpec spec{.name = "users", .dim = kDim, .id_kind = IdKind::kSparse, .unknown = UnknownId::kZeros};
  const absl::Status built = BuildShard(folder + "/table.shard", {{spec, kRows}});
  ASSERT_TRUE(built.ok()) << built;
  ASSERT_TRUE(WriteShardPackage(folder).ok());
}

/// A model whose portal passes a call on to the shard.
ModelBuilder Front() {
  ModelBuilder model;
  std::vector<std::string> inputs(std::begin(LookupCall::kInputNames), std::end(LookupCall::kInputNames));
  model.Input("tables", DType::kString, {"K"}).Input("entries", DType::kInt32, {"K", 4});
  model.Input("ids", DType::kInt64, {"T"}).Input("strings", DType::kString, {"S"});
  model.Input("lengths", DType::kInt32, {"B"}).Input("weights", DType::kFloat, {"W"});
  model.Output("rows", DType::kUint8, {"bytes"}).Output("found", DType::kInt64, {"K", 4});
  model.Portal("Remote", kName, inputs, {"rows", "found"}, {DType::kUint8, DType::kInt64}, {"bytes", "K,4"},
               {String("signature", LookupCall::kSignature)});
  return model;
}

std::vector<NamedTensor> Named(const LookupBuilder& call) {
  std::vector<Tensor> inputs = call.Build();
  std::vector<NamedTensor> named;
  for (size_t i = 0; i < inputs.size(); ++i) {
    named.push_back({std::string(LookupCall::kInputNames[i]), std::move(inputs[i])});
  }
  return named;
}

std::vector<float> RowsOf(const Outputs& outputs) {
  const absl::string_view bytes = outputs.at("rows").bytes();
  std::vector<float> rows(bytes.size() / sizeof(float));
  std::memcpy(rows.data(), bytes.data(), bytes.size());
  return rows;
}

class ShardNodeTest : public ::testing::Test {
 protected:
  std::unique_ptr<Node> StartShard(const std::string& base) {
    return StartNode(LocalNode(base, {{kName, folder_.Folder(base)}}));
  }

  const TempFolder folder_;
};

TEST_F(ShardNodeTest, ClientsOfAnyServerCanAsk) {
  MakePackage(folder_.Folder("shard/1"));
  const std::unique_ptr<Node> node = StartShard("shard");
  const std::string first = absl::StrCat(SparseId(0));
  const HttpAnswer tfs =
      Http(node->http_address(), absl::StrCat("/v1/models/", kName, ":predict"),
           absl::StrCat(R"({"signature_name":"lookup","inputs":{"tables":["users"],)",
                        R"("entries":[[1,1,0,0]],"ids":[)", first, R"(],"strings":[],"lengths":[],"weights":[]}})"));
  EXPECT_EQ(tfs.code, 200) << tfs.body;
  EXPECT_THAT(tfs.body, HasSubstr("found"));
  const HttpAnswer v2 = Http(node->http_address(), absl::StrCat("/v2/models/", kName, "/infer"),
                             absl::StrCat(R"({"parameters":{"signature":"lookup"},"inputs":[)",
                                          R"({"name":"tables","datatype":"BYTES","shape":[1],"data":["users"]},)",
                                          R"({"name":"entries","datatype":"INT32","shape":[1,4],"data":[0,1,1,0]},)",
                                          R"({"name":"ids","datatype":"INT64","shape":[1],"data":[)", first, "]},",
                                          R"({"name":"strings","datatype":"BYTES","shape":[0],"data":[]},)",
                                          R"({"name":"lengths","datatype":"INT32","shape":[1],"data":[1]},)",
                                          R"({"name":"weights","datatype":"FP32","shape":[0],"data":[]}]})"));
  EXPECT_EQ(v2.code, 200) << v2.body;
  EXPECT_THAT(v2.body, HasSubstr(absl::StrCat(R"("data":[0,0,)", kDim, ",0]"))) << "none unknown, float32, dim, begin";
  EXPECT_EQ(Http(node->http_address(), absl::StrCat("/v2/models/", kName)).code, 200) << "metadata";
  const HttpAnswer wrong = Http(node->http_address(), absl::StrCat("/v1/models/", kName, ":predict"),
                                R"({"signature_name":"lookup","inputs":{"tables":["users"],"entries":[[7,1,0,0]],)"
                                R"("ids":[1],"strings":[],"lengths":[],"weights":[]}})");
  EXPECT_EQ(wrong.code, 400) << wrong.body;
  EXPECT_THAT(wrong.body, HasSubstr("got 7 for form"));
}

TEST_F(ShardNodeTest, OperatorsSeeItsTables) {
  MakePackage(folder_.Folder("shard/1"));
  const std::unique_ptr<Node> node = StartShard("shard");
  EXPECT_THAT(Http(node->http_address(), "/debug/tables").body,
              AllOf(HasSubstr("\"table\":\"users\""), HasSubstr(absl::StrCat("\"rows\":", kRows))));
  EXPECT_THAT(Http(node->http_address(), "/debug/tables?format=html").body, HasSubstr("<td>users</td>"));
  EXPECT_EQ(Http(node->http_address(), "/debug/tables?format=xml").code, 400);
  EXPECT_THAT(Http(node->http_address(), "/metrics").body,
              AllOf(HasSubstr("portico_table_rows{model=\"clicks.0of1\",version=\"1\",table=\"users\"} 5000"),
                    HasSubstr("portico_memory_bytes{of=\"tables_mapped\"}")));
  EXPECT_THAT(Http(node->http_address(), "/debug/memory").body, HasSubstr("\"tables\":{\"mapped_bytes\":"));
}

TEST_F(ShardNodeTest, OtherNodesAskOverThePeerProtocol) {
  MakePackage(folder_.Folder("shard/1"));
  Front().WriteTo(folder_.File("front/1/model.onnx"));
  const std::unique_ptr<Node> shard = StartShard("shard");
  Node::Options options = LocalNode("front", {{"front", folder_.Folder("front")}});
  options.peers[kName] = {shard->peer_endpoint()};
  const std::unique_ptr<Node> front = StartNode(std::move(options));
  PredictClient client(front->grpc_address());
  LookupBuilder call;
  call.Add("users", {.ids = {SparseId(3), SparseId(4), SparseId(kRows + 9)}, .lengths = {2, 0, 1}});
  const auto outputs = client.Predict("front", Named(call));
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  std::vector<float> want = RowValues(3, kDim);
  const std::vector<float> fourth = RowValues(4, kDim);
  for (size_t d = 0; d < kDim; ++d) want[d] += fourth[d];
  want.resize(3 * kDim);
  EXPECT_EQ(RowsOf(*outputs), want);
  EXPECT_EQ(outputs->at("found").data<int64_t>()[LookupCall::kUnknown], 1);
}

TEST_F(ShardNodeTest, RowsOfABrokenBlockComeFromAReplica) {
  MakePackage(folder_.Folder("whole/1"));
  std::filesystem::copy(folder_.Folder("whole"), folder_.Folder("broken"), std::filesystem::copy_options::recursive);
  const std::string file = folder_.File("broken/1/table.shard");
  const uint64_t at = OpenShard(file)->layout().tables[0].rows.offset + 9;
  {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(static_cast<std::streamoff>(at));
    const int byte = stream.get();
    stream.seekp(static_cast<std::streamoff>(at));
    stream.put(static_cast<char>(byte ^ 1));
  }
  Front().WriteTo(folder_.File("front/1/model.onnx"));
  const std::unique_ptr<Node> whole = StartShard("whole");
  const std::unique_ptr<Node> broken = StartShard("broken");
  Node::Options options = LocalNode("front", {{"front", folder_.Folder("front")}});
  options.peers[kName] = {broken->peer_endpoint(), whole->peer_endpoint()};
  options.default_policy.retries = 1;
  const std::unique_ptr<Node> front = StartNode(std::move(options));
  PredictClient client(front->grpc_address());
  LookupBuilder call;
  call.AddRows("users", std::vector<int64_t>{SparseId(0)});
  for (int i = 0; i < 50; ++i) {
    const auto outputs = client.Predict("front", Named(call));
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    ASSERT_EQ(RowsOf(*outputs), RowValues(0, kDim));
  }
  const std::string labels = "{model=\"clicks.0of1\",version=\"1\",table=\"users\"} ";
  EXPECT_THAT(Http(broken->http_address(), "/metrics").body, HasSubstr("portico_table_broken_blocks" + labels + "1\n"));
  EXPECT_THAT(Http(whole->http_address(), "/metrics").body, HasSubstr("portico_table_broken_blocks" + labels + "0\n"));
  // Alone, the broken one says which block it is.
  const HttpAnswer lost = Http(
      broken->http_address(), absl::StrCat("/v1/models/", kName, ":predict"),
      absl::StrCat(R"({"signature_name":"lookup","inputs":{"tables":["users"],)", R"("entries":[[1,1,0,0]],"ids":[)",
                   SparseId(0), R"(],"strings":[],"lengths":[],"weights":[]}})"));
  EXPECT_EQ(lost.code, 500);
  EXPECT_THAT(lost.body, HasSubstr("(rows of table 'users', bytes"));
}

}  // namespace
}  // namespace portico
