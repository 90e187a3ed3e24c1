#include <fstream>
#include <map>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/node/frontend/raw_http.h"
#include "tests/node/frontend/serving_node.h"

namespace portico {
namespace {

/// "name" → "kind", as docs/metrics.md says.
std::map<std::string, std::string> Documented() {
  std::ifstream file(PORTICO_SOURCE_DIR "/docs/metrics.md");
  std::map<std::string, std::string> metrics;
  for (std::string line; std::getline(file, line);) {
    if (!absl::StartsWith(line, "| `portico_")) continue;
    const std::vector<std::string> cells = absl::StrSplit(line, '|');
    metrics[std::string(absl::StripPrefix(absl::StripSuffix(absl::StripAsciiWhitespace(cells[1]), "`"), "`"))] =
        std::string(absl::StripAsciiWhitespace(cells[2]));
  }
  return metrics;
}

TEST(MetricsPageTest, TellsWhatANodeExposesAndNothingElse) {
  ServingNode serving;
  RawHttp http(serving.node().http_address());
  ASSERT_EQ(http.Post("/v1/models/count:predict", R"({"instances": [1]})").code, 200);
  ASSERT_EQ(http.Post("/v1/models/nobody:predict", R"({"instances": [1]})").code, 404);
  const std::string page = http.Get("/metrics").body;
  const std::map<std::string, std::string> documented = Documented();
  EXPECT_GT(documented.size(), 15u);
  std::set<std::string> exposed;
  for (const absl::string_view line : absl::StrSplit(page, '\n')) {
    if (!absl::StartsWith(line, "# TYPE ")) continue;
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    exposed.insert(words[2]);
    const auto found = documented.find(words[2]);
    ASSERT_TRUE(found != documented.end()) << words[2] << " is not in docs/metrics.md";
    EXPECT_EQ(found->second, words[3]) << words[2];
  }
  for (const auto& [name, kind] : documented) {
    // This node has no portals, nothing to warm up and no collector of traces (RequestTraceTest has one).
    if (absl::StartsWith(name, "portico_portal_") || absl::StartsWith(name, "portico_replica")) continue;
    if (absl::StartsWith(name, "portico_cascade_")) continue;
    if (absl::StartsWith(name, "portico_experts_") || absl::StartsWith(name, "portico_embedding_")) continue;
    // No shard is served.
    if (absl::StartsWith(name, "portico_table_")) continue;
    if (absl::StartsWith(name, "portico_warmup_")) continue;
    if (absl::StartsWith(name, "portico_trace_spans_")) continue;
    // Without --etcd.
    if (absl::StartsWith(name, "portico_etcd_")) continue;
    // No model keeps answers or says what it runs by.
    if (absl::StartsWith(name, "portico_result_cache_") || name == "portico_model_providers") continue;
    // No traffic is split.
    if (absl::StartsWith(name, "portico_traffic_") || absl::StartsWith(name, "portico_shadow_")) continue;
    EXPECT_TRUE(exposed.contains(name)) << name << " is in docs/metrics.md, and no node has it";
  }
  EXPECT_THAT(page,
              testing::HasSubstr("portico_requests_unresolved_total{code=\"NOT_FOUND\",model=\"(unknown)\"} 1\n"));
  EXPECT_THAT(page, testing::Not(testing::HasSubstr("nobody")));
}

}  // namespace
}  // namespace portico
