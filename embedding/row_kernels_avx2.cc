// Row kernels for AVX2, FMA and F16C. Everything behind the pragma is compiled for it, and nothing there is inline code
// of another header: that could become the program's only copy.

#if defined(__x86_64__)

#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "embedding/row_kernels_internal.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif

namespace portico {
namespace {

constexpr size_t kLanes = 8;

// Each reads 8 values that begin at `at`.
struct Float32 {
  static constexpr size_t kBits = 32;
  static __m256 Load(const char* at) { return _mm256_loadu_ps(reinterpret_cast<const float*>(at)); }
};
struct Float16 {
  static constexpr size_t kBits = 16;
  static __m256 Load(const char* at) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at))); }
};
struct Bfloat16 {
  static constexpr size_t kBits = 16;
  static __m256 Load(const char* at) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
  }
};
struct Int8 {
  static constexpr size_t kBits = 8;
  static __m256 Load(const char* at) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at))));
  }
};
struct Int4 {
  static constexpr size_t kBits = 4;
  static __m256 Load(const char* at) {
    int four;
    std::memcpy(&four, at, sizeof(four));
    const __m128i packed = _mm_cvtsi32_si128(four);
    const __m128i nibble = _mm_set1_epi8(15);
    const __m128i even = _mm_and_si128(packed, nibble);
    const __m128i odd = _mm_and_si128(_mm_srli_epi16(packed, 4), nibble);
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_unpacklo_epi8(even, odd)));
  }
};

/// The last values, fewer than 8, with zeros behind them: nothing beyond the row is read.
template <typename Type>
__m256 LoadTail(const char* at, size_t count) {
  char whole[kLanes * Type::kBits / 8] = {};
  std::memcpy(whole, at, (count * Type::kBits + 7) / 8);
  return Type::Load(whole);
}

void AddTail(__m256 values, size_t count, float* out) {
  float whole[kLanes];
  _mm256_storeu_ps(whole, values);
  for (size_t i = 0; i < count; ++i) out[i] += whole[i];
}

template <typename Type>
void AddPlain(const char* row, float weight, size_t dim, float* out) {
  const __m256 w = _mm256_set1_ps(weight);
  size_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    _mm256_storeu_ps(out + i, _mm256_fmadd_ps(w, Type::Load(row + i * Type::kBits / 8), _mm256_loadu_ps(out + i)));
  }
  if (i < dim) AddTail(_mm256_mul_ps(w, LoadTail<Type>(row + i * Type::kBits / 8, dim - i)), dim - i, out + i);
}

template <typename Type>
void AddCodes(const char* row, float weight, size_t dim, float* out) {
  float scale_and_bias[2];
  std::memcpy(scale_and_bias, row, sizeof(scale_and_bias));
  const __m256 scale = _mm256_set1_ps(weight * scale_and_bias[0]);
  const __m256 bias = _mm256_set1_ps(weight * scale_and_bias[1]);
  const char* codes = row + sizeof(scale_and_bias);
  size_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    const __m256 value = _mm256_fmadd_ps(scale, Type::Load(codes + i * Type::kBits / 8), bias);
    _mm256_storeu_ps(out + i, _mm256_add_ps(value, _mm256_loadu_ps(out + i)));
  }
  if (i == dim) return;
  AddTail(_mm256_fmadd_ps(scale, LoadTail<Type>(codes + i * Type::kBits / 8, dim - i), bias), dim - i, out + i);
}

bool EncodeFloat32(const float* values, size_t dim, char* row) {
  std::memcpy(row, values, 4 * dim);
  return true;
}

/// The 8 or fewer values at `at`, zeros behind them.
__m256 Values(const float* at, size_t count) {
  return count >= kLanes ? _mm256_loadu_ps(at) : LoadTail<Float32>(reinterpret_cast<const char*>(at), count);
}

bool AllFinite(__m256 values) {
  const __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), values);
  return _mm256_movemask_ps(_mm256_cmp_ps(size, _mm256_set1_ps(INFINITY), _CMP_LT_OQ)) == 0xff;
}

bool EncodeFloat16(const float* values, size_t dim, char* row) {
  bool fits = true;
  for (size_t i = 0; i < dim; i += kLanes) {
    const size_t count = dim - i < kLanes ? dim - i : kLanes;
    const __m128i bits = _mm256_cvtps_ph(Values(values + i, count), _MM_FROUND_TO_NEAREST_INT);
    fits &= AllFinite(_mm256_cvtph_ps(bits));
    std::memcpy(row + 2 * i, &bits, 2 * count);
  }
  return fits;
}

bool EncodeBfloat16(const float* values, size_t dim, char* row) {
  bool fits = true;
  for (size_t i = 0; i < dim; i += kLanes) {
    const size_t count = dim - i < kLanes ? dim - i : kLanes;
    const __m256i x = _mm256_castps_si256(Values(values + i, count));
    // To nearest, ties to even: half less a bit, and one more where the last kept bit is odd.
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(x, 16), _mm256_set1_epi32(1));
    const __m256i kept = _mm256_srli_epi32(_mm256_add_epi32(x, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
    fits &= AllFinite(_mm256_castsi256_ps(_mm256_slli_epi32(kept, 16)));
    const __m128i bits = _mm_packus_epi32(_mm256_castsi256_si128(kept), _mm256_extracti128_si256(kept, 1));
    std::memcpy(row + 2 * i, &bits, 2 * count);
  }
  return fits;
}

/// Scale and bias to `row`, one code a byte to `codes`. False where the range is no float.
bool EncodeCodes(const float* values, size_t dim, float levels, char* row, char* codes) {
  __m256 low = _mm256_set1_ps(dim == 0 ? 0 : values[0]), high = low;
  size_t whole = 0;
  for (; whole + kLanes <= dim; whole += kLanes) {
    low = _mm256_min_ps(low, _mm256_loadu_ps(values + whole));
    high = _mm256_max_ps(high, _mm256_loadu_ps(values + whole));
  }
  float lows[kLanes], highs[kLanes];
  _mm256_storeu_ps(lows, low);
  _mm256_storeu_ps(highs, high);
  float bias = lows[0], largest = highs[0];
  for (size_t i = 1; i < kLanes; ++i) {
    bias = lows[i] < bias ? lows[i] : bias;
    largest = highs[i] > largest ? highs[i] : largest;
  }
  for (size_t i = whole; i < dim; ++i) {
    bias = values[i] < bias ? values[i] : bias;
    largest = values[i] > largest ? values[i] : largest;
  }
  if (!(largest - bias < INFINITY)) return false;
  const float scale = (largest - bias) / levels;
  const float inverse = __builtin_isnormal(scale) ? 1 / scale : 0;
  std::memcpy(row, &scale, 4);
  std::memcpy(row + 4, &bias, 4);
  const __m256 from = _mm256_set1_ps(bias), factor = _mm256_set1_ps(inverse), top = _mm256_set1_ps(levels);
  for (size_t i = 0; i < dim; i += kLanes) {
    const size_t count = dim - i < kLanes ? dim - i : kLanes;
    const __m256 x = _mm256_mul_ps(_mm256_sub_ps(Values(values + i, count), from), factor);
    const __m256i code = _mm256_cvtps_epi32(_mm256_min_ps(x, top));
    const __m128i shorts = _mm_packus_epi32(_mm256_castsi256_si128(code), _mm256_extracti128_si256(code, 1));
    const __m128i bytes = _mm_packus_epi16(shorts, shorts);
    std::memcpy(codes + i, &bytes, count);
  }
  return true;
}

bool EncodeInt8(const float* values, size_t dim, char* row) { return EncodeCodes(values, dim, 255, row, row + 8); }

bool EncodeInt4(const float* values, size_t dim, char* row) {
  char codes[kMaxDim + 1];
  if (!EncodeCodes(values, dim, 15, row, codes)) return false;
  codes[dim] = 0;
  for (size_t i = 0; i < dim; i += 2) row[8 + i / 2] = static_cast<char>(codes[i] | codes[i + 1] << 4);
  return true;
}

}  // namespace

const RowKernels& Avx2RowKernels() {
  static constexpr RowKernels kKernels = {
      Isa::kAvx2,
      {AddPlain<Float32>, AddPlain<Float16>, AddPlain<Bfloat16>, AddCodes<Int8>, AddCodes<Int4>},
      {AddEachRow<AddPlain<Float32>>, AddEachRow<AddPlain<Float16>>, AddEachRow<AddPlain<Bfloat16>>,
       AddEachRow<AddCodes<Int8>>, AddEachRow<AddCodes<Int4>>},
      {EncodeFloat32, EncodeFloat16, EncodeBfloat16, EncodeInt8, EncodeInt4}};
  return kKernels;
}

}  // namespace portico

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif  // defined(__x86_64__)
