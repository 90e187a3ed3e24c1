// ModelInfer over REST, as JSON and with binary tensors both ways, beside a plain Boost.Beast server that answers a
// constant of the same bytes. The served model is tiny, so that what is measured is the frontend.

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "bench/rest_bench.h"
#include "bench/scenarios.h"

namespace portico::bench {
namespace {

constexpr char kPath[] = "/v2/models/tiny/infer";

void RunJson(Report& report) {
  if (!H2load::Found("infer.rest.json")) return;
  RestRequest request;
  request.name = "infer.rest.json";
  request.path = kPath;
  request.body = R"({"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1.0,2.0,3.0,4.0]}]})";
  for (const H2load& load : {H2load{64, 64}, H2load{1, 1}}) RunRest(request, load, report);
}

void RunBinary(Report& report) {
  if (!H2load::Found("infer.rest.binary")) return;
  const absl::string_view json =
      R"({"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}}],)"
      R"("parameters":{"binary_data_output":true}})";
  const float values[] = {1, 2, 3, 4};
  RestRequest request;
  request.name = "infer.rest.binary";
  request.path = kPath;
  request.body = absl::StrCat(json, absl::string_view(reinterpret_cast<const char*>(values), sizeof(values)));
  request.headers = {{"inference-header-content-length", absl::StrCat(json.size())}};
  for (const H2load& load : {H2load{64, 64}, H2load{1, 1}}) RunRest(request, load, report);
}

}  // namespace

std::vector<Scenario> InferRestScenarios() {
  return {
      {"infer.rest.json", "REST infer of a tiny model, JSON, against a plain Beast server, driven by h2load", RunJson},
      {"infer.rest.binary", "the same with binary tensors both ways", RunBinary}};
}

}  // namespace portico::bench
