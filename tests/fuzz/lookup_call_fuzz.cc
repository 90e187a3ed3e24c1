// A call of a shard, as any peer may send it: it is refused, or answered with what its entries ask for, and nothing is
// read or written outside its tensors and the answer.

#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_split.h"
#include "embedding/shard_lookup.h"
#include "tests/embedding/shard_builder.h"
#include "tests/fuzz/fuzz.h"

namespace portico {
namespace {

constexpr size_t kRows = 50;
constexpr uint64_t kMaxReply = 1 << 20;

/// A table of each kind of ids and answer to unknown ids.
const ShardFile& Shard() {
  static const ShardFile& shard = *[] {
    std::string folder = "/tmp/portico_fuzz_XXXXXX";
    FuzzCheck(mkdtemp(folder.data()) != nullptr, "there is a folder");
    std::vector<std::pair<TableSpec, size_t>> tables;
    for (int i = 0; i < kIdKinds * kUnknownIds; ++i) {
      TableSpec spec{.name = absl::StrCat("t", i), .dim = static_cast<size_t>(1 + 3 * i)};
      spec.row_type = static_cast<RowType>(i % kRowTypes);
      spec.id_kind = static_cast<IdKind>(i % kIdKinds);
      spec.unknown = static_cast<UnknownId>(i / kIdKinds);
      if (spec.unknown == UnknownId::kDefaultRow) spec.default_row.assign(spec.dim, 1.5f);
      tables.emplace_back(spec, kRows);
    }
    FuzzCheckOk(BuildShard(folder + "/shard", tables), "the shard is built");
    auto file = OpenShard(folder + "/shard");
    std::filesystem::remove_all(folder);
    return file.release();
  }();
  return shard;
}

/// The next tensor's bytes: their number stands in front, in 16 bits.
absl::string_view Next(absl::string_view* input) {
  const size_t low = TakeByte(input), high = TakeByte(input);
  const absl::string_view bytes = input->substr(0, std::min(low | high << 8, input->size()));
  input->remove_prefix(bytes.size());
  return bytes;
}

/// In memory of exactly its size. `columns`: 0 for rank 1.
Tensor Numbers(DType dtype, size_t element, int64_t columns, absl::string_view bytes) {
  const auto count = static_cast<int64_t>(bytes.size() / element);
  const Shape shape = columns == 0 ? Shape{count} : Shape{count / columns, columns};
  const int64_t kept = columns == 0 ? count : count / columns * columns;
  auto origin = MakeRef<FuzzOrigin>(bytes.substr(0, static_cast<size_t>(kept) * element));
  const absl::string_view exact = origin->bytes();
  auto tensor = Tensor::View(dtype, shape, exact, std::move(origin));
  FuzzCheckOk(tensor.status(), "the tensor is one");
  return *std::move(tensor);
}

Tensor Texts(absl::string_view bytes) {
  std::vector<absl::string_view> texts;
  if (!bytes.empty()) texts = absl::StrSplit(bytes, '\0');
  return Tensor::OfStrings({static_cast<int64_t>(texts.size())}, absl::MakeConstSpan(texts));
}

void FuzzOne(absl::string_view input) {
  std::vector<Tensor> inputs(LookupCall::kInputs);
  inputs[LookupCall::kTables] = Texts(Next(&input));
  inputs[LookupCall::kEntries] = Numbers(DType::kInt32, 4, LookupCall::kEntryColumns, Next(&input));
  inputs[LookupCall::kIds] = Numbers(DType::kInt64, 8, 0, Next(&input));
  inputs[LookupCall::kStrings] = Texts(Next(&input));
  inputs[LookupCall::kLengths] = Numbers(DType::kInt32, 4, 0, Next(&input));
  inputs[LookupCall::kWeights] = Numbers(DType::kFloat, 4, 0, Next(&input));
  const Tensor entries = inputs[LookupCall::kEntries];
  const auto lookup = ShardLookup::Read(Shard(), std::move(inputs), kMaxReply);
  if (!lookup.ok()) return;
  FuzzCheck(lookup->reply_bytes() <= kMaxReply, "answers are bounded");
  const auto outputs = lookup->Run();
  if (!outputs.ok()) {
    FuzzCheck(absl::IsInvalidArgument(outputs.status()) || absl::IsOutOfRange(outputs.status()),
              "its ids are at fault");
    return;
  }
  FuzzCheck(outputs->size() == LookupCall::kOutputs, "there are two outputs");
  const Tensor& rows = (*outputs)[LookupCall::kRows];
  const Tensor& found = (*outputs)[LookupCall::kFound];
  FuzzCheck(rows.bytes().size() == lookup->reply_bytes(), "the answer is as large as was said");
  FuzzCheck(found.rows() == entries.rows(), "there is a line for each entry");
  for (int64_t i = 0; i < found.rows(); ++i) {
    const int64_t* const line = found.data<int64_t>().data() + i * LookupCall::kFoundColumns;
    FuzzCheck(line[LookupCall::kBegin] % static_cast<int64_t>(LookupCall::kAlignment) == 0, "entries are aligned");
    FuzzCheck(line[LookupCall::kBegin] <= static_cast<int64_t>(rows.bytes().size()), "entries are inside");
    FuzzCheck(line[LookupCall::kUnknown] >= 0, "unknown ids are counted");
  }
}

}  // namespace
}  // namespace portico

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  portico::FuzzOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
