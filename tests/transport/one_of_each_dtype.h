#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/transport/scripted_peer.h"

namespace portico {

/// What any API of foreign servers carries: each dtype, strings long and empty, a scalar, no elements, many elements.
inline std::vector<Tensor> OneOfEachDtype() {
  std::vector<Tensor> tensors;
  for (const DType dtype :
       {DType::kFloat, DType::kDouble, DType::kFloat16, DType::kBfloat16, DType::kInt8, DType::kInt16, DType::kInt32,
        DType::kInt64, DType::kUint8, DType::kUint16, DType::kUint32, DType::kUint64, DType::kBool}) {
    Tensor tensor = Tensor::Allocate(dtype, {2, 3});
    std::fill_n(tensor.mutable_bytes(), tensor.bytes().size(), '\1');
    tensors.push_back(tensor);
  }
  tensors.push_back(Tensor::OfStrings({2}, std::vector<std::string>{"", std::string(10'000, 'x')}));
  tensors.push_back(Tensor::Of<int64_t>({}, {7}));
  tensors.push_back(Tensor::Of<float>({0, 5}, {}));
  Tensor large = Tensor::Allocate(DType::kFloat, {1'000'000});
  std::fill_n(large.mutable_bytes(), large.bytes().size(), '\2');
  tensors.push_back(large);
  return tensors;
}

/// Sends one of each to model `model`, and expects them back under their names and `suffix`.
inline void ExpectEchoed(Channel& channel, const std::string& suffix, const std::string& model = "echo") {
  const std::vector<Tensor> sent = OneOfEachDtype();
  std::vector<std::string> names;
  std::vector<WantedOutput> wanted;
  for (size_t i = 0; i < sent.size(); ++i) {
    names.push_back(absl::StrCat("t", i));
    wanted.push_back({names.back() + suffix, sent[i].dtype(), sent[i].shape()});
  }
  PeerHeader header;
  header.servable = model;
  header.wanted = wanted;
  for (const std::string& name : names) header.tensors.emplace_back().name = name;
  PendingResult result;
  channel.Call(header, sent, Deadline(), result.Done());
  const auto reply = result.Wait();
  ASSERT_TRUE(reply.ok()) << reply.status();
  ASSERT_EQ(reply->tensors.size(), sent.size());
  std::map<std::string, Tensor> got;
  for (size_t i = 0; i < sent.size(); ++i) got[std::string(reply->header.tensors[i].name)] = reply->tensors[i];
  for (size_t i = 0; i < sent.size(); ++i) {
    const Tensor& back = got[names[i] + suffix];
    EXPECT_EQ(back.dtype(), sent[i].dtype()) << DTypeName(sent[i].dtype());
    EXPECT_EQ(back.shape(), sent[i].shape()) << DTypeName(sent[i].dtype());
    EXPECT_EQ(back.bytes(), sent[i].bytes()) << DTypeName(sent[i].dtype());
  }
}

}  // namespace portico
