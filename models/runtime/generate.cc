#include <bit>
#include <cstring>
#include <iterator>
#include <random>

#include "base/small_float.h"
#include "models/runtime/row_check.h"

namespace portico {
namespace {

constexpr int64_t kOtherExtent = 3;
constexpr const char* kWords[] = {"red", "green", "blue", "a", "one two", "Portico"};

/// Draws that are the same on every machine, which the standard's distributions are not.
class Draw {
 public:
  explicit Draw(uint64_t seed) : bits_(seed) {}
  /// In [0, count).
  uint64_t Below(uint64_t count) { return bits_() % count; }
  /// A multiple of 1/8 between −15/8 and 15/8: exact in half and bfloat16 too.
  double Eighths() { return (static_cast<double>(Below(31)) - 15) / 8; }

 private:
  std::mt19937_64 bits_;
};

template <typename T, typename Next>
void Fill(Tensor& tensor, const Next& next) {
  char* out = tensor.mutable_bytes();
  for (size_t at = 0; at + sizeof(T) <= tensor.bytes().size(); at += sizeof(T)) {
    const T value = static_cast<T>(next());
    std::memcpy(out + at, &value, sizeof(T));
  }
}

Tensor Words(const Shape& shape, uint64_t elements, Draw& draw) {
  std::vector<absl::string_view> words;
  for (uint64_t i = 0; i < elements; ++i) words.push_back(kWords[draw.Below(std::size(kWords))]);
  return Tensor::OfStrings(shape, absl::MakeConstSpan(words));
}

Tensor Generate(DType dtype, const Shape& shape, Draw& draw) {
  uint64_t elements = 1;
  for (const int64_t extent : shape) elements *= static_cast<uint64_t>(extent);
  if (dtype == DType::kString) return Words(shape, elements, draw);

  Tensor tensor = Tensor::Allocate(dtype, shape);
  const auto real = [&] { return draw.Eighths(); };
  const auto whole = [&] { return draw.Below(4); };
  switch (dtype) {
    case DType::kFloat:
    case DType::kComplex64:
      Fill<float>(tensor, real);
      break;
    case DType::kDouble:
    case DType::kComplex128:
      Fill<double>(tensor, real);
      break;
    case DType::kFloat16:
      Fill<uint16_t>(tensor, [&] { return HalfFromFloat(static_cast<float>(draw.Eighths())); });
      break;
    case DType::kBfloat16:
      Fill<uint16_t>(tensor, [&] { return BfloatFromFloat(static_cast<float>(draw.Eighths())); });
      break;
    case DType::kFloat8E4M3FN:
    case DType::kFloat8E4M3FNUZ:
    case DType::kFloat8E5M2:
    case DType::kFloat8E5M2FNUZ:
      // Small positive numbers in all four.
      Fill<uint8_t>(tensor, [&] { return draw.Below(4) * 0x10 + 0x08; });
      break;
    case DType::kUint4:
    case DType::kInt4:
    case DType::kFloat4E2M1:
      Fill<uint8_t>(tensor, [&] { return draw.Below(4) << 4 | draw.Below(4); });
      break;
    case DType::kBool:
      Fill<uint8_t>(tensor, [&] { return draw.Below(2); });
      break;
    case DType::kInt16:
    case DType::kUint16:
      Fill<uint16_t>(tensor, whole);
      break;
    case DType::kInt32:
    case DType::kUint32:
      Fill<uint32_t>(tensor, whole);
      break;
    case DType::kInt64:
    case DType::kUint64:
      Fill<uint64_t>(tensor, whole);
      break;
    default:
      Fill<uint8_t>(tensor, whole);
      break;
  }
  return tensor;
}

}  // namespace

std::vector<Tensor> GenerateInputs(const std::vector<TensorSpec>& specs,
                                   const std::vector<std::pair<std::string, int64_t>>& extents, uint64_t seed) {
  Draw draw(seed);
  std::vector<Tensor> inputs;
  for (const TensorSpec& spec : specs) {
    Shape shape;
    for (const Dim& dim : spec.dims) {
      int64_t extent = dim.extent >= 0 ? dim.extent : kOtherExtent;
      for (const auto& [symbol, value] : extents) {
        if (dim.extent < 0 && !symbol.empty() && dim.symbol == symbol) extent = value;
      }
      shape.push_back(extent);
    }
    inputs.push_back(Generate(spec.dtype, shape, draw));
  }
  return inputs;
}

}  // namespace portico
