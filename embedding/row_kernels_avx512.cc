// Row kernels for AVX-512 (F, BW, DQ, VL). Everything behind the pragma is compiled for it, and nothing there is inline
// code of another header: that could become the program's only copy.

#if defined(__x86_64__)

#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "embedding/row_kernels_internal.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#endif

namespace portico {
namespace {

constexpr size_t kLanes = 16;
constexpr __mmask16 kAll = 0xffff;

__mmask16 First(size_t count) { return static_cast<__mmask16>((1u << count) - 1); }

// Each reads 16 values from the `i`-th on; `mask` says which are there.
struct Float32 {
  static __m512 Load(const char* row, size_t i, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, row + 4 * i); }
};
struct Float16 {
  static __m512 Load(const char* row, size_t i, __mmask16 mask) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, row + 2 * i));
  }
};
struct Bfloat16 {
  static __m512 Load(const char* row, size_t i, __mmask16 mask) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, row + 2 * i));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
  }
};
struct Int8 {
  static __m512 Load(const char* codes, size_t i, __mmask16 mask) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, codes + i)));
  }
};
struct Int4 {
  static __m512 Load(const char* codes, size_t i, __mmask16 mask) {
    // As many bytes as there are even lanes.
    const __mmask16 bytes = BytesOf(mask);
    const __m128i packed = _mm_maskz_loadu_epi8(bytes, codes + i / 2);
    const __m128i nibble = _mm_set1_epi8(15);
    const __m128i even = _mm_and_si128(packed, nibble);
    const __m128i odd = _mm_and_si128(_mm_srli_epi16(packed, 4), nibble);
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_unpacklo_epi8(even, odd)));
  }
  /// 2n or 2n - 1 ones become n ones.
  static __mmask16 BytesOf(__mmask16 mask) {
    const auto count = static_cast<unsigned>(__builtin_popcount(mask));
    return First((count + 1) / 2);
  }
};

template <typename Type>
void AddPlain(const char* row, float weight, size_t dim, float* out) {
  const __m512 w = _mm512_set1_ps(weight);
  size_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    _mm512_storeu_ps(out + i, _mm512_fmadd_ps(w, Type::Load(row, i, kAll), _mm512_loadu_ps(out + i)));
  }
  if (i == dim) return;
  const __mmask16 mask = First(dim - i);
  const __m512 sum = _mm512_fmadd_ps(w, Type::Load(row, i, mask), _mm512_maskz_loadu_ps(mask, out + i));
  _mm512_mask_storeu_ps(out + i, mask, sum);
}

template <typename Type>
void AddCodes(const char* row, float weight, size_t dim, float* out) {
  float scale_and_bias[2];
  std::memcpy(scale_and_bias, row, sizeof(scale_and_bias));
  const __m512 scale = _mm512_set1_ps(weight * scale_and_bias[0]);
  const __m512 bias = _mm512_set1_ps(weight * scale_and_bias[1]);
  const char* codes = row + sizeof(scale_and_bias);
  size_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    const __m512 value = _mm512_fmadd_ps(scale, Type::Load(codes, i, kAll), bias);
    _mm512_storeu_ps(out + i, _mm512_add_ps(value, _mm512_loadu_ps(out + i)));
  }
  if (i == dim) return;
  const __mmask16 mask = First(dim - i);
  const __m512 value = _mm512_fmadd_ps(scale, Type::Load(codes, i, mask), bias);
  _mm512_mask_storeu_ps(out + i, mask, _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, out + i)));
}

/// Sums of up to kVectors times 16 numbers over all rows, without going to memory in between.
constexpr size_t kMaxVectors = 8;

/// `numbers` behind `first`, of which the last vector has those of `mask`.
template <typename Type, bool kCodes, size_t kVectors>
void AddColumns(const char* const* rows, const float* weights, size_t count, size_t first, __mmask16 mask, float* out) {
  __m512 sums[kVectors];
#pragma GCC unroll 8
  for (size_t v = 0; v < kVectors; ++v) {
    sums[v] = _mm512_maskz_loadu_ps(v + 1 == kVectors ? mask : kAll, out + first + v * kLanes);
  }
  __m512 biases = _mm512_setzero_ps();
  for (size_t r = 0; r < count; ++r) {
    const char* row = rows[r];
    __m512 factor = _mm512_set1_ps(weights == nullptr ? 1.0f : weights[r]);
    if constexpr (kCodes) {
      float scale_and_bias[2];
      std::memcpy(scale_and_bias, row, sizeof(scale_and_bias));
      biases = _mm512_fmadd_ps(factor, _mm512_set1_ps(scale_and_bias[1]), biases);
      factor = _mm512_mul_ps(factor, _mm512_set1_ps(scale_and_bias[0]));
      row += sizeof(scale_and_bias);
    }
#pragma GCC unroll 8
    for (size_t v = 0; v < kVectors; ++v) {
      const __m512 values = Type::Load(row, first + v * kLanes, v + 1 == kVectors ? mask : kAll);
      sums[v] = _mm512_fmadd_ps(factor, values, sums[v]);
    }
  }
#pragma GCC unroll 8
  for (size_t v = 0; v < kVectors; ++v) {
    const __m512 sum = kCodes ? _mm512_add_ps(sums[v], biases) : sums[v];
    _mm512_mask_storeu_ps(out + first + v * kLanes, v + 1 == kVectors ? mask : kAll, sum);
  }
}

template <typename Type, bool kCodes>
void AddRows(const char* const* rows, const float* weights, size_t count, size_t dim, float* out) {
  static constexpr decltype(&AddColumns<Type, kCodes, 1>) kByVectors[kMaxVectors] = {
      AddColumns<Type, kCodes, 1>, AddColumns<Type, kCodes, 2>, AddColumns<Type, kCodes, 3>,
      AddColumns<Type, kCodes, 4>, AddColumns<Type, kCodes, 5>, AddColumns<Type, kCodes, 6>,
      AddColumns<Type, kCodes, 7>, AddColumns<Type, kCodes, 8>};
  for (size_t first = 0; first < dim; first += kMaxVectors * kLanes) {
    const size_t left = dim - first < kMaxVectors * kLanes ? dim - first : kMaxVectors * kLanes;
    const __mmask16 mask = left % kLanes == 0 ? kAll : First(left % kLanes);
    kByVectors[(left - 1) / kLanes](rows, weights, count, first, mask, out);
  }
}

bool EncodeFloat32(const float* values, size_t dim, char* row) {
  std::memcpy(row, values, 4 * dim);
  return true;
}

bool EncodeFloat16(const float* values, size_t dim, char* row) {
  __mmask16 fits = kAll;
  const __m512 infinity = _mm512_set1_ps(INFINITY);
  for (size_t i = 0; i < dim; i += kLanes) {
    const __mmask16 mask = dim - i < kLanes ? First(dim - i) : kAll;
    const __m256i bits = _mm512_cvtps_ph(_mm512_maskz_loadu_ps(mask, values + i), _MM_FROUND_TO_NEAREST_INT);
    fits &= _mm512_cmp_ps_mask(_mm512_abs_ps(_mm512_cvtph_ps(bits)), infinity, _CMP_LT_OQ);
    _mm256_mask_storeu_epi16(row + 2 * i, mask, bits);
  }
  return fits == kAll;
}

bool EncodeBfloat16(const float* values, size_t dim, char* row) {
  __mmask16 fits = kAll;
  const __m512 infinity = _mm512_set1_ps(INFINITY);
  for (size_t i = 0; i < dim; i += kLanes) {
    const __mmask16 mask = dim - i < kLanes ? First(dim - i) : kAll;
    const __m512i x = _mm512_castps_si512(_mm512_maskz_loadu_ps(mask, values + i));
    // To nearest, ties to even: half less a bit, and one more where the last kept bit is odd.
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(x, 16), _mm512_set1_epi32(1));
    const __m512i kept = _mm512_srli_epi32(_mm512_add_epi32(x, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
    const __m512 back = _mm512_castsi512_ps(_mm512_slli_epi32(kept, 16));
    fits &= _mm512_cmp_ps_mask(_mm512_abs_ps(back), infinity, _CMP_LT_OQ);
    _mm256_mask_storeu_epi16(row + 2 * i, mask, _mm512_cvtepi32_epi16(kept));
  }
  return fits == kAll;
}

/// Scale and bias to `row`, one code a byte to `codes`. False where the range is no float.
bool EncodeCodes(const float* values, size_t dim, float levels, char* row, char* codes) {
  __m512 low = _mm512_set1_ps(dim == 0 ? 0 : values[0]), high = low;
  for (size_t i = 0; i < dim; i += kLanes) {
    const __mmask16 mask = dim - i < kLanes ? First(dim - i) : kAll;
    const __m512 x = _mm512_maskz_loadu_ps(mask, values + i);
    low = _mm512_mask_min_ps(low, mask, low, x);
    high = _mm512_mask_max_ps(high, mask, high, x);
  }
  float lows[kLanes], highs[kLanes];
  _mm512_storeu_ps(lows, low);
  _mm512_storeu_ps(highs, high);
  float bias = lows[0], largest = highs[0];
  for (size_t i = 1; i < kLanes; ++i) {
    bias = lows[i] < bias ? lows[i] : bias;
    largest = highs[i] > largest ? highs[i] : largest;
  }
  if (!(largest - bias < INFINITY)) return false;
  const float scale = (largest - bias) / levels;
  const float inverse = __builtin_isnormal(scale) ? 1 / scale : 0;
  std::memcpy(row, &scale, 4);
  std::memcpy(row + 4, &bias, 4);
  const __m512 from = _mm512_set1_ps(bias), factor = _mm512_set1_ps(inverse), top = _mm512_set1_ps(levels);
  for (size_t i = 0; i < dim; i += kLanes) {
    const __mmask16 mask = dim - i < kLanes ? First(dim - i) : kAll;
    const __m512 x = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(mask, values + i), from), factor);
    const __m512i code = _mm512_cvtps_epi32(_mm512_min_ps(x, top));
    _mm_mask_storeu_epi8(codes + i, mask, _mm512_cvtepi32_epi8(code));
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

const RowKernels& Avx512RowKernels() {
  static constexpr RowKernels kKernels = {
      Isa::kAvx512,
      {AddPlain<Float32>, AddPlain<Float16>, AddPlain<Bfloat16>, AddCodes<Int8>, AddCodes<Int4>},
      {AddRows<Float32, false>, AddRows<Float16, false>, AddRows<Bfloat16, false>, AddRows<Int8, true>,
       AddRows<Int4, true>},
      {EncodeFloat32, EncodeFloat16, EncodeBfloat16, EncodeInt8, EncodeInt4}};
  return kKernels;
}

}  // namespace portico

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif  // defined(__x86_64__)
