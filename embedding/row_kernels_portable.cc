// Row kernels in plain C++.

#include <cmath>
#include <cstring>

#include "base/small_float.h"
#include "embedding/row_kernels_internal.h"

namespace portico {
namespace {

template <typename T>
T Read(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

void AddFloat32(const char* row, float weight, size_t dim, float* out) {
  for (size_t i = 0; i < dim; ++i) out[i] += weight * Read<float>(row + 4 * i);
}

template <float (*kToFloat)(uint16_t)>
void AddSmall(const char* row, float weight, size_t dim, float* out) {
  for (size_t i = 0; i < dim; ++i) out[i] += weight * kToFloat(Read<uint16_t>(row + 2 * i));
}

void AddInt8(const char* row, float weight, size_t dim, float* out) {
  const float scale = weight * Read<float>(row);
  const float bias = weight * Read<float>(row + 4);
  const auto* codes = reinterpret_cast<const uint8_t*>(row + 8);
  for (size_t i = 0; i < dim; ++i) out[i] += scale * static_cast<float>(codes[i]) + bias;
}

void AddInt4(const char* row, float weight, size_t dim, float* out) {
  const float scale = weight * Read<float>(row);
  const float bias = weight * Read<float>(row + 4);
  const auto* codes = reinterpret_cast<const uint8_t*>(row + 8);
  for (size_t i = 0; i < dim; ++i) {
    out[i] += scale * static_cast<float>(i % 2 == 0 ? codes[i / 2] & 15 : codes[i / 2] >> 4) + bias;
  }
}

bool EncodeFloat32(const float* values, size_t dim, char* row) {
  std::memcpy(row, values, 4 * dim);
  return true;
}

template <uint16_t (*kFromFloat)(float), float (*kToFloat)(uint16_t)>
bool EncodeSmall(const float* values, size_t dim, char* row) {
  bool fits = true;
  for (size_t i = 0; i < dim; ++i) {
    const uint16_t bits = kFromFloat(values[i]);
    fits &= std::isfinite(kToFloat(bits));
    std::memcpy(row + 2 * i, &bits, 2);
  }
  return fits;
}

/// One code to a byte, behind scale and bias.
struct Codes {
  float bias = 0;
  float scale = 0;
  float inverse = 0;

  /// False where the range is no float.
  bool Choose(const float* values, size_t dim, float levels) {
    float low = dim == 0 ? 0 : values[0], high = low;
    for (size_t i = 0; i < dim; ++i) {
      low = values[i] < low ? values[i] : low;
      high = values[i] > high ? values[i] : high;
    }
    if (!std::isfinite(high - low)) return false;
    bias = low;
    scale = (high - low) / levels;
    inverse = std::isnormal(scale) ? 1 / scale : 0;
    return true;
  }
  uint8_t Of(float value, int levels) const {
    const int code = static_cast<int>((value - bias) * inverse + 0.5f);
    return static_cast<uint8_t>(code > levels ? levels : code);
  }
  void Write(char* row) const {
    std::memcpy(row, &scale, 4);
    std::memcpy(row + 4, &bias, 4);
  }
};

bool EncodeInt8(const float* values, size_t dim, char* row) {
  Codes codes;
  if (!codes.Choose(values, dim, 255)) return false;
  codes.Write(row);
  for (size_t i = 0; i < dim; ++i) row[8 + i] = static_cast<char>(codes.Of(values[i], 255));
  return true;
}

bool EncodeInt4(const float* values, size_t dim, char* row) {
  Codes codes;
  if (!codes.Choose(values, dim, 15)) return false;
  codes.Write(row);
  for (size_t i = 0; i < dim; i += 2) {
    const int high = i + 1 < dim ? codes.Of(values[i + 1], 15) : 0;
    row[8 + i / 2] = static_cast<char>(codes.Of(values[i], 15) | high << 4);
  }
  return true;
}

}  // namespace

const RowKernels& PortableRowKernels() {
  static constexpr RowKernels kKernels = {
      Isa::kPortable,
      {AddFloat32, AddSmall<FloatFromHalf>, AddSmall<FloatFromBfloat>, AddInt8, AddInt4},
      {AddEachRow<AddFloat32>, AddEachRow<AddSmall<FloatFromHalf>>, AddEachRow<AddSmall<FloatFromBfloat>>,
       AddEachRow<AddInt8>, AddEachRow<AddInt4>},
      {EncodeFloat32, EncodeSmall<HalfFromFloat, FloatFromHalf>, EncodeSmall<BfloatFromFloat, FloatFromBfloat>,
       EncodeInt8, EncodeInt4}};
  return kKernels;
}

}  // namespace portico
