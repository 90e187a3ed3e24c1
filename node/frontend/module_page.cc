#include "node/frontend/module_page.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/byte_text.h"
#include "base/json_string.h"
#include "base/status_macros.h"
#include "node/observe/html.h"

namespace portico {
namespace {

std::string TimeText(absl::Time time) { return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", time, absl::UTCTimeZone()); }

std::string ShapeText(const TensorSpec& spec) {
  if (!spec.has_rank) return "[...]";
  return absl::StrCat("[",
                      absl::StrJoin(spec.dims, ", ",
                                    [](std::string* out, const Dim& dim) {
                                      if (dim.extent >= 0) {
                                        absl::StrAppend(out, dim.extent);
                                      } else {
                                        out->append(dim.symbol.empty() ? "?" : dim.symbol);
                                      }
                                    }),
                      "]");
}

/// An example call, or why there is none.
struct Example {
  RestApi api;
  std::string url;
  /// Where the body is.
  std::string body_url;
  /// Empty where it is larger than what stands in a command.
  std::string body;
  std::string curl;
  std::string why_not;
};

/// The body; empty where it does not fit into a command, which is not found out by making it.
absl::StatusOr<std::string> SmallBody(RestApi api, const Signature& signature) {
  ASSIGN_OR_RETURN(const uint64_t elements, ExampleElements(api, signature));
  if (elements > kMaxInlineBody / 2) return std::string();
  ASSIGN_OR_RETURN(std::string body, ExampleBody(api, signature));
  return body.size() <= kMaxInlineBody ? std::move(body) : std::string();
}

std::vector<Example> ExamplesOf(const ModuleView& module, const PageReader& reader) {
  std::vector<Example> examples;
  for (const RestApi api : {RestApi::kTfs, RestApi::kV2}) {
    Example& example = examples.emplace_back();
    example.api = api;
    if (!module.here.has_value() || module.here->servable == nullptr) {
      example.why_not = module.served_by.empty()
                            ? "nobody serves it"
                            : absl::StrCat("this node does not serve it; it is served by ",
                                           absl::StrJoin(module.served_by, ", "), ", where this page has one");
      continue;
    }
    absl::StatusOr<std::string> body = SmallBody(api, module.signatures().front());
    if (!body.ok()) {
      example.why_not = std::string(body.status().message());
      continue;
    }
    const Handle& handle = module.manifest.handle;
    example.url = absl::StrCat(reader.base_url, ExamplePath(api, handle.Model(), handle.version));
    example.body_url = absl::StrCat(reader.base_url, ModulePath(handle), "?example=", RestApiName(api));
    example.body = *std::move(body);
    example.curl = CurlCommand(example.url, example.body, example.body_url, reader.with_token);
  }
  return examples;
}

// ---- JSON

/// Keys and values of one object or list. Commas are put between.
class Json {
 public:
  explicit Json(std::string* out) : out_(*out) {}

  Json& Open(char bracket, absl::string_view key = {}) {
    Key(key);
    out_.push_back(bracket);
    first_ = true;
    return *this;
  }
  Json& Close(char bracket) {
    out_.push_back(bracket);
    first_ = false;
    return *this;
  }
  Json& Text(absl::string_view key, absl::string_view value) {
    Key(key);
    AppendJsonString(value, &out_);
    return *this;
  }
  Json& Number(absl::string_view key, uint64_t value) {
    Key(key);
    absl::StrAppend(&out_, value);
    return *this;
  }

 private:
  void Key(absl::string_view key) {
    if (!std::exchange(first_, false)) out_.push_back(',');
    if (key.empty()) return;
    AppendJsonString(key, &out_);
    out_.push_back(':');
  }

  std::string& out_;
  bool first_ = true;
};

void AddTensors(absl::string_view key, const std::vector<TensorSpec>& specs, bool with_axis, Json& json) {
  json.Open('[', key);
  for (const TensorSpec& spec : specs) {
    json.Open('{').Text("name", spec.name).Text("dtype", DTypeName(spec.dtype));
    if (spec.has_rank) {
      json.Open('[', "shape");
      for (const Dim& dim : spec.dims) {
        if (dim.extent >= 0) {
          json.Number("", static_cast<uint64_t>(dim.extent));
        } else {
          json.Text("", dim.symbol.empty() ? "?" : dim.symbol);
        }
      }
      json.Close(']');
    }
    if (with_axis) json.Text("axis", AxisKindName(spec.axis));
    json.Close('}');
  }
  json.Close(']');
}

void AddSummary(const ModuleView& module, Json& json) {
  const Manifest& manifest = module.manifest;
  json.Text("handle", manifest.handle.ToString()).Text("digest", manifest.digest.Hex());
  json.Text("family", manifest.family).Text("description", manifest.description);
  json.Number("bytes", manifest.bytes()).Text("page", ModulePath(manifest.handle));
  if (module.used_by.has_value()) {
    json.Open('[', "used_by");
    for (const ModuleView::User& user : *module.used_by) {
      json.Open('{').Text("model", user.model).Number("version", static_cast<uint64_t>(user.version)).Close('}');
    }
    json.Close(']');
  }
  json.Open('[', "served_by");
  for (const std::string& node : module.served_by) json.Text("", node);
  json.Close(']');
  if (!module.here.has_value()) return;
  const ModuleView::Here& here = *module.here;
  json.Open('{', "here").Text("state", VersionStateName(here.state));
  if (!here.error.empty()) json.Text("error", here.error);
  json.Number("requests", here.succeeded).Number("failed", here.failed).Number("rows", here.rows);
  if (here.succeeded + here.failed > 0) json.Text("last_request", TimeText(here.last_request));
  json.Close('}');
}

// ---- HTML. Whatever comes from a manifest, a revision or a request goes through HtmlText().

void AddFact(absl::string_view what, absl::string_view value, std::string* html) {
  if (!value.empty()) absl::StrAppend(html, "<dt>", what, "</dt><dd>", HtmlText(value), "</dd>\n");
}

void AddTensorRows(absl::string_view direction, const std::vector<TensorSpec>& specs, bool with_axis,
                   std::string* html) {
  for (const TensorSpec& spec : specs) {
    absl::StrAppend(html, "<tr><td>", direction, "</td><td><code>", HtmlText(spec.name), "</code></td><td>",
                    DTypeName(spec.dtype), "</td><td><code>", HtmlText(ShapeText(spec)), "</code></td>",
                    with_axis ? absl::StrCat("<td>", AxisKindName(spec.axis), "</td>") : std::string(), "</tr>\n");
  }
}

std::string StateHtml(const ModuleView& module) {
  if (!module.here.has_value()) return "not served by this node";
  const bool good = module.here->state == VersionState::kAvailable;
  return absl::StrCat("<span class=\"", good ? "good" : "bad", "\">", VersionStateName(module.here->state), "</span>",
                      module.here->error.empty() ? "" : ": ", HtmlText(module.here->error));
}

std::string UsersText(const ModuleView& module) {
  if (!module.used_by.has_value()) return "not known: this mesh has more calls than its revision tells";
  if (module.used_by->empty()) return "nobody";
  return absl::StrJoin(*module.used_by, ", ", [](std::string* out, const ModuleView::User& user) {
    absl::StrAppend(out, user.model, " version ", user.version);
  });
}

std::string MeshTitle(const std::string& mesh) {
  return mesh.empty() ? "Modules of this node" : absl::StrCat("Modules of mesh ", mesh);
}

}  // namespace

std::string ModulePath(const Handle& handle) { return absl::StrCat("/hub/", handle.ToString()); }

std::string ModuleListJson(const std::string& mesh, const std::vector<ModuleView>& modules) {
  std::string text;
  Json json(&text);
  json.Open('{').Text("mesh", mesh).Open('[', "modules");
  for (const ModuleView& module : modules) {
    json.Open('{');
    AddSummary(module, json);
    json.Close('}');
  }
  json.Close(']').Close('}');
  return text + "\n";
}

std::string ModuleListHtml(const std::string& mesh, const std::vector<ModuleView>& modules) {
  std::string html = absl::StrCat("<h1>", HtmlText(MeshTitle(mesh)), "</h1>\n");
  if (modules.empty()) {
    html.append("<p>None. A mesh file names modules by their handles, <code>publisher/name/version</code>.</p>\n");
  } else {
    html.append(
        "<div class=\"wide\"><table><thead><tr><th>module</th><th>what it is</th><th>used by</th><th>served by</th>"
        "<th>here</th><th>size</th></tr></thead>\n<tbody>\n");
    for (const ModuleView& module : modules) {
      const std::string handle = HtmlText(module.manifest.handle.ToString());
      absl::StrAppend(&html, "<tr><td><a href=\"", HtmlText(ModulePath(module.manifest.handle)), "\">", handle,
                      "</a></td><td>", HtmlText(module.manifest.description), "</td><td>", HtmlText(UsersText(module)),
                      "</td><td>", HtmlText(absl::StrJoin(module.served_by, ", ")), "</td><td>", StateHtml(module),
                      "</td><td class=\"number\">", ByteText(module.manifest.bytes()), "</td></tr>\n");
    }
    html.append("</tbody></table></div>\n");
  }
  html.append("<footer><a href=\"/hub?format=json\">as JSON</a></footer>\n");
  return HtmlPage(MeshTitle(mesh), html);
}

std::string ModuleJson(const ModuleView& module, const PageReader& reader) {
  const Manifest& manifest = module.manifest;
  std::string text;
  Json json(&text);
  json.Open('{');
  AddSummary(module, json);
  json.Text("license", manifest.license).Text("published", TimeText(manifest.published)).Text("tool", manifest.tool);
  if (!manifest.provenance.empty()) {
    json.Open('{', "provenance").Text("source_digest", manifest.provenance.source.Hex());
    json.Text("plan", manifest.provenance.plan).Text("tool", manifest.provenance.tool).Close('}');
  }
  const bool with_axis = module.here.has_value() && module.here->servable != nullptr;
  json.Open('[', "signatures");
  for (const Signature& signature : module.signatures()) {
    json.Open('{').Text("name", signature.name);
    AddTensors("inputs", signature.inputs, with_axis, json);
    AddTensors("outputs", signature.outputs, with_axis, json);
    json.Close('}');
  }
  json.Close(']').Open('[', "calls");
  for (const PortalTarget& portal : manifest.portals) {
    json.Open('{')
        .Text("model", portal.name)
        .Text("digest", portal.digest.empty() ? "" : portal.digest.Hex())
        .Close('}');
  }
  json.Close(']').Open('[', "files");
  for (const ModuleFile& file : manifest.files) {
    json.Open('{').Text("path", file.path).Number("bytes", file.bytes).Text("sha256", file.sha256.Hex()).Close('}');
  }
  json.Close(']').Open('[', "examples");
  for (const Example& example : ExamplesOf(module, reader)) {
    json.Open('{').Text("api", RestApiName(example.api));
    if (example.why_not.empty()) {
      json.Text("url", example.url).Text("body_url", example.body_url).Text("curl", example.curl);
      if (!example.body.empty()) json.Text("body", example.body);
    } else {
      json.Text("why_not", example.why_not);
    }
    json.Close('}');
  }
  json.Close(']').Close('}');
  return text + "\n";
}

std::string ModuleHtml(const ModuleView& module, const PageReader& reader) {
  const Manifest& manifest = module.manifest;
  const std::string handle = manifest.handle.ToString();
  std::string html = absl::StrCat("<p><a href=\"/hub\">all modules</a></p>\n<h1>", HtmlText(handle), "</h1>\n");
  if (!manifest.description.empty()) absl::StrAppend(&html, "<p>", HtmlText(manifest.description), "</p>\n");

  html.append("<dl>\n");
  AddFact("digest", manifest.digest.Hex(), &html);
  AddFact("family", manifest.family, &html);
  AddFact("licence", manifest.license, &html);
  AddFact("size", ByteText(manifest.bytes()), &html);
  AddFact("published", TimeText(manifest.published), &html);
  AddFact("published by", manifest.tool, &html);
  AddFact("used by", UsersText(module), &html);
  AddFact("served by", absl::StrJoin(module.served_by, ", "), &html);
  absl::StrAppend(&html, "<dt>here</dt><dd>", StateHtml(module), "</dd>\n");
  if (module.here.has_value()) {
    const ModuleView::Here& here = *module.here;
    AddFact("requests here",
            absl::StrCat(here.succeeded, " answered, ", here.failed, " failed, ", here.rows, " rows",
                         here.succeeded + here.failed > 0 ? absl::StrCat("; the last at ", TimeText(here.last_request))
                                                          : std::string()),
            &html);
  }
  for (const PortalTarget& portal : manifest.portals) {
    AddFact("calls",
            portal.digest.empty() ? portal.name : absl::StrCat(portal.name, ", digest ", portal.digest.Short()), &html);
  }
  html.append("</dl>\n");

  const bool with_axis = module.here.has_value() && module.here->servable != nullptr;
  for (const Signature& signature : module.signatures()) {
    absl::StrAppend(&html, "<h2>Signature <code>", HtmlText(signature.name),
                    "</code></h2>\n<div class=\"wide\"><table><thead><tr><th></th><th>name</th><th>dtype</th>"
                    "<th>shape</th>",
                    with_axis ? "<th>axis</th>" : "", "</tr></thead>\n<tbody>\n");
    AddTensorRows("in", signature.inputs, with_axis, &html);
    AddTensorRows("out", signature.outputs, with_axis, &html);
    html.append("</tbody></table></div>\n");
  }

  html.append("<h2>Example call</h2>\n");
  for (const Example& example : ExamplesOf(module, reader)) {
    absl::StrAppend(&html, "<p>",
                    example.api == RestApi::kTfs ? "TensorFlow Serving's API" : "Open Inference Protocol (v2)",
                    example.why_not.empty() ? ":" : absl::StrCat(": ", HtmlText(example.why_not)), "</p>\n");
    if (!example.why_not.empty()) continue;
    absl::StrAppend(&html, "<pre id=\"example-", RestApiName(example.api), "\">", HtmlText(example.curl), "</pre>\n");
  }

  html.append(
      "<h2>Files</h2>\n<div class=\"wide\"><table><thead><tr><th>file</th><th>size</th><th>SHA-256</th></tr></thead>\n"
      "<tbody>\n");
  for (const ModuleFile& file : manifest.files) {
    absl::StrAppend(&html, "<tr><td><code>", HtmlText(file.path), "</code></td><td class=\"number\">",
                    ByteText(file.bytes), "</td><td><code>", file.sha256.Hex(), "</code></td></tr>\n");
  }
  html.append("</tbody></table></div>\n");

  if (!manifest.provenance.empty()) {
    html.append("<h2>Where it comes from</h2>\n<dl>\n");
    if (!manifest.provenance.source.empty()) AddFact("made of digest", manifest.provenance.source.Hex(), &html);
    AddFact("made by", manifest.provenance.tool, &html);
    html.append("</dl>\n");
    if (!manifest.provenance.plan.empty()) {
      absl::StrAppend(&html, "<p>by the plan:</p>\n<pre>", HtmlText(manifest.provenance.plan), "</pre>\n");
    }
  }
  absl::StrAppend(&html, "<footer><a href=\"", HtmlText(ModulePath(manifest.handle)),
                  "?format=json\">as JSON</a></footer>\n");
  return HtmlPage(handle, html);
}

}  // namespace portico
