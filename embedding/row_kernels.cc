#include "embedding/row_kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "embedding/row_kernels_internal.h"

namespace portico {

absl::string_view IsaName(Isa isa) {
  switch (isa) {
    case Isa::kPortable:
      return "portable";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "";
}

const RowKernels* RowKernels::For(Isa isa) {
  if (isa == Isa::kPortable) return &PortableRowKernels();
#if defined(__x86_64__)
  // __builtin_cpu_supports() asks whether the kernel saves the registers, too; clang 14's knows no F16C.
  static const bool avx2 = [] {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    const bool f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && f16c;
  }();
  static const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (isa == Isa::kAvx2 && avx2) return &Avx2RowKernels();
  if (isa == Isa::kAvx512 && avx512) return &Avx512RowKernels();
#endif
  return nullptr;
}

const RowKernels& RowKernels::Best() {
  static const RowKernels& best = []() -> const RowKernels& {
    for (const Isa isa : {Isa::kAvx512, Isa::kAvx2}) {
      if (const RowKernels* kernels = For(isa)) return *kernels;
    }
    return PortableRowKernels();
  }();
  return best;
}

absl::Status EncodeRow(const RowKernels& kernels, RowType type, absl::Span<const float> values, char* row) {
  const auto bad = std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
  if (bad != values.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("value ", bad - values.begin(), ": got ", *bad, ", want a finite number"));
  }
  if (kernels.encode[static_cast<size_t>(type)](values.data(), values.size(), row)) return absl::OkStatus();
  const auto largest =
      std::max_element(values.begin(), values.end(), [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  return absl::InvalidArgumentError(absl::StrCat("value ", largest - values.begin(), ": got ", *largest,
                                                 ", which does not fit ", RowTypeName(type),
                                                 "; scale the table down, or take float32"));
}

void DecodeRow(const RowKernels& kernels, RowType type, const char* row, absl::Span<float> out) {
  std::fill(out.begin(), out.end(), 0.0f);
  kernels.add[static_cast<size_t>(type)](row, 1.0f, out.size(), out.data());
}

}  // namespace portico
