// What a portal call pays in this process alone: header codec, tensor views, the gather copy of a joined batch.
//   build/portico_microbench --benchmark_filter=Header

#include <string>
#include <vector>

#include "base/tensor.h"
#include "benchmark/benchmark.h"
#include "transport/peer_header.h"

namespace portico {
namespace {

PeerHeader CallHeader(absl::Span<const Tensor> tensors) {
  static const std::string digest(32, 'd');
  PeerHeader header;
  header.kind = PeerHeader::Kind::kCall;
  header.call_id = 123456;
  header.servable = "hub/digit-encoder";
  header.digest = digest;
  header.signature = "serving_default";
  header.timeout_us = 100'000;
  header.revision = 7;
  header.hop = 1;
  for (const Tensor& tensor : tensors) {
    TensorMeta meta;
    meta.dtype = tensor.dtype();
    meta.shape = tensor.shape();
    meta.bytes = tensor.bytes().size();
    header.tensors.push_back(std::move(meta));
  }
  return header;
}

void BM_HeaderEncode(benchmark::State& state) {
  const Tensor tensors[] = {Tensor::Allocate(DType::kFloat, {1, 16})};
  const PeerHeader header = CallHeader(tensors);
  std::string bytes;
  for (auto _ : state) {
    bytes.clear();
    EncodeHeader(header, &bytes);
    benchmark::DoNotOptimize(bytes.data());
  }
  state.counters["bytes"] = static_cast<double>(bytes.size());
}
BENCHMARK(BM_HeaderEncode);

void BM_HeaderDecode(benchmark::State& state) {
  const Tensor tensors[] = {Tensor::Allocate(DType::kFloat, {1, 16})};
  std::string bytes;
  EncodeHeader(CallHeader(tensors), &bytes);
  for (auto _ : state) {
    PeerHeader header;
    benchmark::DoNotOptimize(DecodeHeader(bytes, PeerLimits(), &header).ok());
  }
}
BENCHMARK(BM_HeaderDecode);

/// Rows of 256 bytes, one tensor a caller.
void BM_GatherRows(benchmark::State& state) {
  const std::vector<Tensor> parts(static_cast<size_t>(state.range(0)), Tensor::Allocate(DType::kFloat, {1, 64}));
  for (auto _ : state) benchmark::DoNotOptimize(ConcatRows(parts).bytes().data());
  state.SetBytesProcessed(state.iterations() * state.range(0) * 256);
}
BENCHMARK(BM_GatherRows)->Arg(2)->Arg(64);

void BM_TensorView(benchmark::State& state) {
  const Tensor whole = Tensor::Allocate(DType::kFloat, {64, 64});
  for (auto _ : state) {
    benchmark::DoNotOptimize(Tensor::View(DType::kFloat, {64, 64}, whole.bytes(), whole.origin()).ok());
  }
}
BENCHMARK(BM_TensorView);

}  // namespace
}  // namespace portico

BENCHMARK_MAIN();
