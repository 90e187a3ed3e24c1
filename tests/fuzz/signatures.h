#pragma once

#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "models/package/signature.h"

namespace portico {

/// Signatures whose inputs are also their outputs, so that what is read can be written: the default one, one per dtype
/// (named after it), "two" with two inputs, "bytes" with a name that means base64, "fixed" with known extents.
class FuzzSignatures {
 public:
  FuzzSignatures() {
    Add(std::string(kDefaultSignature), {Input("x", DType::kFloat)});
    for (const DType dtype :
         {DType::kFloat, DType::kDouble, DType::kFloat16, DType::kBfloat16, DType::kInt8, DType::kInt16, DType::kInt32,
          DType::kInt64, DType::kUint8, DType::kUint16, DType::kUint32, DType::kUint64, DType::kBool, DType::kString}) {
      Add(std::string(DTypeName(dtype)), {Input("x", dtype)});
    }
    Add("two", {Input("a", DType::kFloat), Input("b", DType::kString)});
    Add("bytes", {Input("x_bytes", DType::kString)});
    Add("examples", {Input("x", DType::kFloat), Input("k", DType::kInt64), Input("tag", DType::kString)});
    Add("serialized", {Input("inputs", DType::kString)});
    TensorSpec fixed = Input("x", DType::kInt64);
    fixed.has_rank = true;
    fixed.dims = {{-1, "N"}, {3, ""}};
    Add("fixed", {fixed});
  }
  /// "" is the default.
  const Signature* Find(absl::string_view name) const {
    const auto found = signatures_.find(std::string(name.empty() ? kDefaultSignature : name));
    return found == signatures_.end() ? nullptr : &found->second;
  }

 private:
  static TensorSpec Input(const std::string& name, DType dtype) {
    TensorSpec spec;
    spec.name = name;
    spec.graph_name = name;
    spec.dtype = dtype;
    spec.has_rank = false;
    return spec;
  }
  void Add(const std::string& name, std::vector<TensorSpec> tensors) {
    signatures_[name] = Signature{name, tensors, tensors};
  }

  std::map<std::string, Signature> signatures_;
};

}  // namespace portico
