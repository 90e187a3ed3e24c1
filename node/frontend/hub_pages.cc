#include "node/frontend/hub_pages.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "node/frontend/example_call.h"
#include "node/frontend/module_page.h"
#include "node/observe/html.h"

namespace portico {
namespace {

constexpr absl::string_view kRoot = "/hub";

/// The API whose example is asked for, if any. What else the query may say is WantsHtml()'s; anything else is refused.
absl::StatusOr<std::optional<RestApi>> ReadExample(absl::string_view query) {
  std::optional<RestApi> example;
  for (const absl::string_view part : absl::StrSplit(query, '&', absl::SkipEmpty())) {
    if (part == "example=tfs") {
      example = RestApi::kTfs;
    } else if (part == "example=v2") {
      example = RestApi::kV2;
    } else if (part != "format=html" && part != "format=json") {
      return absl::InvalidArgumentError(
          absl::StrCat("query: got '", part, "', want format=json, format=html, example=tfs or example=v2"));
    }
  }
  return example;
}

/// Whether the client wants HTML, whatever else is wrong with what it asks.
bool WantsHtml(const HttpRequest& request) {
  bool html = !absl::EndsWith(request.path, ".json") && absl::StrContains(request.header("accept"), "text/html");
  for (const absl::string_view part : absl::StrSplit(request.query, '&', absl::SkipEmpty())) {
    if (part == "format=html" || part == "format=json") html = part == "format=html";
  }
  return html;
}

/// HOST or HOST:PORT as a client sent it, where it can be nothing else.
bool IsHost(absl::string_view text) {
  if (text.empty() || text.size() > 255) return false;
  for (const char c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && !absl::StrContains(".-_:[]", c)) return false;
  }
  return true;
}

HttpReply Page(std::string html) {
  HttpReply reply;
  reply.content_type = "text/html; charset=utf-8";
  reply.body = std::move(html);
  reply.headers = HtmlHeaders();
  return reply;
}

HttpReply Json(std::string text) {
  HttpReply reply;
  reply.body = std::move(text);
  reply.headers = {{"Vary", "Accept"}, {"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}};
  return reply;
}

/// An error as the client asked for it.
HttpReply Failure(const absl::Status& status, bool html) {
  HttpReply reply = ErrorReply(status);
  if (!html) return reply;
  const std::string code = absl::StatusCodeToString(status.code());
  HttpReply page = Page(HtmlPage(code, absl::StrCat("<h1>", HtmlText(code), "</h1>\n<p>", HtmlText(status.message()),
                                                    "</p>\n<p><a href=\"/hub\">all modules</a></p>\n")));
  page.code = reply.code;
  return page;
}

}  // namespace

bool HubPages::Handles(absl::string_view path) {
  return path == kRoot || path == "/hub.json" || absl::StartsWith(path, "/hub/");
}

void HubPages::Handle(const HttpRequest& request, HttpServer::Respond respond) const {
  if (request.method == "POST") {
    return respond(ErrorReply(405, "method: got POST, want GET or HEAD"));
  }
  auto answer = [this, &request, respond = std::move(respond)]() mutable {
    absl::StatusOr<HttpReply> reply = Answer(request);
    if (!reply.ok()) reply = Failure(reply.status(), WantsHtml(request));
    reply->pack_here = options_.executor != nullptr;
    respond(*std::move(reply));
  };
  if (options_.executor == nullptr) return std::move(answer)();
  options_.executor->Schedule(std::move(answer));
}

absl::StatusOr<HttpReply> HubPages::Answer(const HttpRequest& request) const {
  ASSIGN_OR_RETURN(const std::optional<RestApi> example, ReadExample(request.query));
  const bool html = WantsHtml(request);
  absl::string_view path = request.path;
  absl::ConsumeSuffix(&path, ".json");
  absl::ConsumePrefix(&path, kRoot);
  absl::ConsumePrefix(&path, "/");
  if (path.empty()) {
    const std::vector<ModuleView> modules = catalog_.List();
    return html ? Page(ModuleListHtml(catalog_.mesh(), modules)) : Json(ModuleListJson(catalog_.mesh(), modules));
  }
  ASSIGN_OR_RETURN(const portico::Handle handle, ParseHandle(path));
  ASSIGN_OR_RETURN(const ModuleView module, catalog_.Find(handle));
  if (example.has_value()) {
    ASSIGN_OR_RETURN(std::string body, ExampleBody(*example, module.signatures().front()));
    return Json(std::move(body));
  }
  const absl::string_view host = request.header("host");
  PageReader reader;
  reader.base_url = absl::StrCat(options_.scheme, "://", IsHost(host) ? host : absl::string_view("localhost"));
  reader.with_token = !request.header("authorization").empty();
  return html ? Page(ModuleHtml(module, reader)) : Json(ModuleJson(module, reader));
}

}  // namespace portico
