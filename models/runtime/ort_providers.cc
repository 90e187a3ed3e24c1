#include "models/runtime/ort_providers.h"

#include <dlfcn.h>
#include <onnxruntime_cxx_api.h>

#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "models/runtime/ort_status.h"

namespace portico {
namespace {

/// What ONNX Runtime calls a provider: in its list, and where it takes one by name.
struct OrtNames {
  absl::string_view name;
  const char* listed;
  const char* generic;
};
constexpr OrtNames kOrtNames[] = {{"tensorrt", "TensorrtExecutionProvider", nullptr},
                                  {"cuda", "CUDAExecutionProvider", nullptr},
                                  {"openvino", "OpenVINOExecutionProvider", nullptr},
                                  {"dnnl", "DnnlExecutionProvider", nullptr},
                                  {"xnnpack", "XnnpackExecutionProvider", "XNNPACK"},
                                  {"webgpu", "WebGpuExecutionProvider", "WebGPU"},
                                  {"qnn", "QNNExecutionProvider", "QNN"},
                                  {"cpu", "CPUExecutionProvider", nullptr}};

const OrtNames& NamesOf(absl::string_view name) {
  const auto found = absl::c_find_if(kOrtNames, [&](const OrtNames& names) { return names.name == name; });
  PORTICO_CHECK(found != std::end(kOrtNames));
  return *found;
}

/// Options as the C API takes them.
struct Texts {
  explicit Texts(const std::map<std::string, std::string>& options) {
    for (const auto& [key, value] : options) {
      keys.push_back(key.c_str());
      values.push_back(value.c_str());
    }
  }
  std::vector<const char*> keys;
  std::vector<const char*> values;
};

/// Of the providers whose options are an object that takes texts: makes one, fills it, appends it, frees it.
template <typename Object>
OrtStatus* AppendObject(const Texts& texts, OrtSessionOptions* options, OrtStatus*(ORT_API_CALL* create)(Object**),
                        OrtStatus*(ORT_API_CALL* update)(Object*, const char* const*, const char* const*, size_t),
                        OrtStatus*(ORT_API_CALL* append)(OrtSessionOptions*, const Object*),
                        void(ORT_API_CALL* release)(Object*)) {
  Object* object = nullptr;
  if (OrtStatus* failed = create(&object)) return failed;
  OrtStatus* status = update(object, texts.keys.data(), texts.values.data(), texts.keys.size());
  if (status == nullptr) status = append(options, object);
  release(object);
  return status;
}

OrtStatus* Append(const ExecutionProvider& provider, OrtSessionOptions* options) {
  const OrtApi& api = Ort::GetApi();
  const Texts texts(provider.options);
  const char* const* keys = texts.keys.data();
  const char* const* values = texts.values.data();
  if (provider.name == "cuda") {
    return AppendObject<OrtCUDAProviderOptionsV2>(
        texts, options, api.CreateCUDAProviderOptions, api.UpdateCUDAProviderOptions,
        api.SessionOptionsAppendExecutionProvider_CUDA_V2, api.ReleaseCUDAProviderOptions);
  }
  if (provider.name == "tensorrt") {
    return AppendObject<OrtTensorRTProviderOptionsV2>(
        texts, options, api.CreateTensorRTProviderOptions, api.UpdateTensorRTProviderOptions,
        api.SessionOptionsAppendExecutionProvider_TensorRT_V2, api.ReleaseTensorRTProviderOptions);
  }
  if (provider.name == "dnnl") {
    return AppendObject<OrtDnnlProviderOptions>(
        texts, options, api.CreateDnnlProviderOptions, api.UpdateDnnlProviderOptions,
        api.SessionOptionsAppendExecutionProvider_Dnnl, api.ReleaseDnnlProviderOptions);
  }
  if (provider.name == "openvino") {
    return api.SessionOptionsAppendExecutionProvider_OpenVINO_V2(options, keys, values, texts.keys.size());
  }
  return api.SessionOptionsAppendExecutionProvider(options, NamesOf(provider.name).generic, keys, values,
                                                   texts.keys.size());
}

}  // namespace

std::vector<std::string> ProvidersOfOnnxRuntime() {
  std::vector<std::string> names;
  const std::vector<std::string> listed = Ort::GetAvailableProviders();
  for (const OrtNames& one : kOrtNames) {
    if (absl::c_linear_search(listed, one.listed)) names.emplace_back(one.name);
  }
  return names;
}

std::string OnnxRuntimeName() {
  Dl_info where{};
  const bool found = dladdr(reinterpret_cast<const void*>(&OrtGetApiBase), &where) != 0 && where.dli_fname != nullptr;
  return absl::StrCat("ONNX Runtime ", Ort::GetVersionString(), found ? absl::StrCat(" (", where.dli_fname, ")") : "");
}

absl::Status AppendProviders(absl::Span<const ExecutionProvider> providers, OrtSessionOptions* options) {
  const std::vector<std::string> there = ProvidersOfOnnxRuntime();
  for (const ExecutionProvider& provider : providers) {
    if (provider.name == "cpu") continue;  // Always last.
    const std::string remedy =
        absl::StrCat("; install a build that has it and set ONNXRUNTIME_ROOT, or remove '", provider.name, "'");
    if (!absl::c_linear_search(there, provider.name)) {
      return absl::FailedPreconditionError(absl::StrCat("execution provider '", provider.name, "': this ",
                                                        OnnxRuntimeName(), " has ", absl::StrJoin(there, ", "), " only",
                                                        remedy));
    }
    const absl::Status appended = TakeOrtStatus(OrtPhase::kCreate, Append(provider, options));
    if (appended.ok()) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "execution provider '", provider.name, "': this ", OnnxRuntimeName(),
        " was built with it and cannot start it: ", absl::StripAsciiWhitespace(appended.message()), remedy));
  }
  return absl::OkStatus();
}

}  // namespace portico
