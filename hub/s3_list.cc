#include "hub/s3_list.h"

#include <expat.h>

#include <memory>

#include "absl/strings/str_cat.h"

namespace portico {
namespace {

constexpr size_t kMaxKeys = 10'000;
constexpr size_t kMaxTextBytes = 1024;
constexpr int kMaxDepth = 8;

/// What is known while the document is read, as expat tells it.
struct Reader {
  XML_Parser parser = nullptr;
  S3Page page;
  /// Names of the elements around, outermost first.
  std::vector<std::string> open;
  std::string text;
  bool truncated = false;
  std::string error;

  void Fail(absl::string_view what) {
    if (error.empty()) error = std::string(what);
    XML_StopParser(parser, XML_FALSE);
  }
};

void OnStart(void* user, const char* name, const char**) {
  Reader& reader = *static_cast<Reader*>(user);
  if (reader.open.size() >= kMaxDepth) return reader.Fail("elements nested too deeply");
  reader.open.emplace_back(name);
  reader.text.clear();
}

void OnText(void* user, const char* text, int bytes) {
  Reader& reader = *static_cast<Reader*>(user);
  if (reader.text.size() + static_cast<size_t>(bytes) > kMaxTextBytes) return reader.Fail("too long a text");
  reader.text.append(text, static_cast<size_t>(bytes));
}

void OnEnd(void* user, const char*) {
  Reader& reader = *static_cast<Reader*>(user);
  const size_t depth = reader.open.size();
  const std::string& name = reader.open.back();
  if (depth == 1 && name != "ListBucketResult") reader.Fail("another document");
  if (depth == 2 && name == "IsTruncated") reader.truncated = reader.text == "true";
  if (depth == 2 && name == "NextContinuationToken") reader.page.next = reader.text;
  if (depth == 3 && name == "Key" && reader.open[1] == "Contents") {
    if (reader.page.keys.size() >= kMaxKeys) return reader.Fail("too many keys");
    reader.page.keys.push_back(reader.text);
  }
  reader.open.pop_back();
  reader.text.clear();
}

/// Nobody who lists objects needs one, and entities are declared there.
void OnDoctype(void* user, const char*, const char*, const char*, int) {
  static_cast<Reader*>(user)->Fail("a document type");
}

}  // namespace

absl::StatusOr<S3Page> ParseS3Page(absl::string_view xml) {
  const auto wrong = [](absl::string_view got) {
    return absl::InvalidArgumentError(
        absl::StrCat("list of a bucket: got ", got, ", want what ListObjectsV2 answers; check the endpoint"));
  };
  if (xml.size() > kMaxS3PageBytes) return wrong(absl::StrCat(xml.size(), " bytes"));
  const std::unique_ptr<XML_ParserStruct, decltype(&XML_ParserFree)> parser(XML_ParserCreate("UTF-8"), &XML_ParserFree);
  Reader reader;
  reader.parser = parser.get();
  XML_SetUserData(parser.get(), &reader);
  XML_SetElementHandler(parser.get(), &OnStart, &OnEnd);
  XML_SetCharacterDataHandler(parser.get(), &OnText);
  XML_SetStartDoctypeDeclHandler(parser.get(), &OnDoctype);
  const XML_Status status = XML_Parse(parser.get(), xml.data(), static_cast<int>(xml.size()), XML_TRUE);
  if (!reader.error.empty()) return wrong(reader.error);
  if (status != XML_STATUS_OK) return wrong(XML_ErrorString(XML_GetErrorCode(parser.get())));
  if (!reader.truncated) reader.page.next.clear();
  if (reader.truncated && reader.page.next.empty()) return wrong("a page that goes on and does not say how");
  return std::move(reader.page);
}

}  // namespace portico
