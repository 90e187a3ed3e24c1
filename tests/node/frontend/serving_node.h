#pragma once

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "node/node.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {

/// A node with both client listeners that serves, from a folder of its own:
///   pair        a, b float32[N,2] → sum, diff float32[N,2]
///   pub/text    text string[N] → same string[N], same_bytes string[N]
///   count       n int64[N] → n int64[N]
///   broken      not a model
/// It records every request.
class ServingNode {
 public:
  ServingNode() {
    ModelBuilder pair;
    pair.Input("a", DType::kFloat, {"N", 2}).Input("b", DType::kFloat, {"N", 2});
    pair.Output("sum", DType::kFloat, {"N", 2}).Output("diff", DType::kFloat, {"N", 2});
    pair.Node("Add", {"a", "b"}, {"sum"}).Node("Sub", {"a", "b"}, {"diff"});
    pair.WriteTo(folder_.File("pair/3/model.onnx"));
    ModelBuilder text;
    text.Input("text", DType::kString, {"N"})
        .Output("same", DType::kString, {"N"})
        .Output("same_bytes", DType::kString, {"N"});
    text.Node("Identity", {"text"}, {"same"}).Node("Identity", {"text"}, {"same_bytes"});
    text.WriteTo(folder_.File("text/1/model.onnx"));
    ModelBuilder count;
    count.Input("n", DType::kInt64, {"N"}).Output("m", DType::kInt64, {"N"}).Node("Identity", {"n"}, {"m"});
    count.WriteTo(folder_.File("count/1/model.onnx"));
    folder_.Write("broken/1/model.onnx", "not a model");
    Node::Options options;
    options.name = "front";
    options.grpc.address = "127.0.0.1:0";
    options.http.address = "127.0.0.1:0";
    options.request_log.files.folder = folder_.path() + "/requests";
    options.request_log.sample = 1;
    options.models = {{"pair", folder_.Folder("pair")},
                      {"pub/text", folder_.Folder("text")},
                      {"count", folder_.Folder("count")},
                      {"broken", folder_.Folder("broken")}};
    auto node = Node::Start(std::move(options));
    EXPECT_TRUE(node.ok()) << node.status();
    node_ = *std::move(node);
  }

  Node& node() { return *node_; }

 private:
  TempFolder folder_;
  std::unique_ptr<Node> node_;
};

}  // namespace portico
