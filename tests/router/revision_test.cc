#include "router/revision.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/revision_external.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

Revision SampleRevision() {
  Revision revision;
  revision.number = 7;
  revision.mesh = "digits: the 'first'";
  revision.models = {{"hub/enc", "/packages/hub/enc"}, {"digit", "/packages/with space # and: colon"}};
  revision.nodes.push_back({.name = "hub", .replica = 0, .serve = {"hub/enc"}, .peer = "zmq+ipc:///run/hub-0.sock"});
  revision.nodes.push_back({.name = "hub", .replica = 1, .serve = {"hub/enc"}, .peer = "zmq+ipc:///run/hub-1.sock"});
  revision.nodes.push_back({.name = "apps",
                            .serve = {"digit"},
                            .peer = "zmq+tcp://127.0.0.1:9000",
                            .grpc = "127.0.0.1:8500",
                            .http = "[::1]:0",
                            .workers = 3});
  revision.default_policy.timeout = absl::Milliseconds(150);
  revision.policies["hub/enc"] = {.timeout = absl::Seconds(2),
                                  .retries = 3,
                                  .retry_percent = 0,
                                  .eject_after = 7,
                                  .eject_for = absl::Milliseconds(250),
                                  .eject_error_percent = 33,
                                  .eject_slower = 4,
                                  .slow_start = absl::Seconds(9)};
  return revision;
}

absl::StatusOr<Revision> Read(const std::string& text) {
  const TempFolder folder;
  return ReadRevision(folder.Write("r.yaml", text));
}

TEST(RevisionTest, CallsOfPortalsAreReadBack) {
  Revision written = SampleRevision();
  written.models[1].pins = {{1, Sha256("one")}, {2, Sha256("two")}};
  written.models[1].calls = {
      {1, "hub/enc", Sha256("enc")}, {2, "hub/enc", Sha256("enc 2")}, {2, "a: name, [odd] #", {}}};
  const auto read = Read(FormatRevision(written));
  ASSERT_TRUE(read.ok()) << read.status() << FormatRevision(written);
  EXPECT_EQ(read->FindModel("digit")->calls, written.models[1].calls);
  EXPECT_TRUE(read->SaysTheSameAs(written));
  constexpr char kWrong[] = "revision: 1\nmesh: m\nmodels: [{name: m, path: /m, calls: {1: [%s]}}]\nnodes: []\n";
  EXPECT_THAT(Read(absl::StrFormat(kWrong, "enc")).status().message(), HasSubstr("want 'DIGEST TARGET'"));
  EXPECT_THAT(Read(absl::StrFormat(kWrong, "12 enc")).status().message(), HasSubstr("calls: 1"));
}

TEST(RevisionTest, NoDocumentIsTooLargeForItsCalls) {
  Revision revision = SampleRevision();
  revision.models[0].calls = {{1, "hub/enc", Sha256("enc")}};
  LimitCalls(&revision);
  EXPECT_EQ(revision.models[0].calls.size(), 1u);
  EXPECT_FALSE(revision.calls_left_out);
  const size_t before = FormatRevision(SampleRevision()).size();
  for (int i = 0; i < 10000; ++i) {
    revision.models[1].calls.push_back({1, absl::StrCat("acme/encoder", i), Sha256(absl::StrCat(i))});
  }
  EXPECT_GT(FormatRevision(revision).size(), size_t{600} << 10);
  LimitCalls(&revision);
  EXPECT_LT(FormatRevision(revision).size(), before + 100);
  const auto read = Read(FormatRevision(revision));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->calls_left_out);
  EXPECT_TRUE(read->models[0].calls.empty());
  EXPECT_TRUE(read->SaysTheSameAs(revision));
  EXPECT_THAT(Read("revision: 1\nmodels: []\nnodes: []\ncalls_left_out: no\n").status().message(),
              HasSubstr("calls_left_out: got 'no', want true"));
}

TEST(RevisionTest, WhatIsWrittenIsReadBack) {
  const Revision written = SampleRevision();
  const auto read = Read(FormatRevision(written));
  ASSERT_TRUE(read.ok()) << read.status() << FormatRevision(written);
  EXPECT_EQ(read->number, 7u);
  EXPECT_EQ(read->mesh, written.mesh);
  ASSERT_EQ(read->models.size(), 2u);
  EXPECT_EQ(read->FindModel("digit")->path, "/packages/with space # and: colon");
  ASSERT_EQ(read->nodes.size(), 3u);
  const Revision::Node* apps = read->FindNode("apps", 0);
  ASSERT_NE(apps, nullptr);
  EXPECT_EQ(apps->id(), "apps/0");
  EXPECT_EQ(apps->serve, std::vector<std::string>{"digit"});
  EXPECT_EQ(apps->peer, "zmq+tcp://127.0.0.1:9000");
  EXPECT_EQ(apps->grpc, "127.0.0.1:8500");
  EXPECT_EQ(apps->http, "[::1]:0");
  EXPECT_EQ(apps->workers, 3);
  EXPECT_EQ(read->FindNode("hub", 1)->peer, "zmq+ipc:///run/hub-1.sock");
  EXPECT_EQ(read->FindNode("hub", 2), nullptr);
  EXPECT_EQ(FormatRevision(*read), FormatRevision(written));
  EXPECT_EQ(read->PolicyFor("hub/enc").retries, 3);
  EXPECT_EQ(read->PolicyFor("hub/enc").retry_percent, 0);
  EXPECT_EQ(read->PolicyFor("hub/enc").eject_after, 7);
  EXPECT_EQ(read->PolicyFor("hub/enc").eject_for, absl::Milliseconds(250));
  EXPECT_EQ(read->PolicyFor("hub/enc").eject_error_percent, 33);
  EXPECT_EQ(read->PolicyFor("hub/enc").eject_slower, 4);
  EXPECT_EQ(read->PolicyFor("hub/enc").slow_start, absl::Seconds(9));
  EXPECT_EQ(read->PolicyFor("digit").retries, 2);
}

TEST(RevisionTest, ExternalTargetsAndZonesAreReadBack) {
  Revision written = SampleRevision();
  written.nodes[0].zone = "eu-1";
  written.externals = {
      {"legacy/ranker", {"tfs+grpc://10.0.0.5:8500", "tfs+https://h:1?ca_file=/ca"}, "ranker", 3, "rank"},
      {"plain", {"v2+http://[::1]:8000"}, "plain", -1, "serving_default"}};
  const auto read = Read(FormatRevision(written));
  ASSERT_TRUE(read.ok()) << read.status() << FormatRevision(written);
  EXPECT_EQ(FormatRevision(*read), FormatRevision(written));
  EXPECT_EQ(read->FindNode("hub", 0)->zone, "eu-1");
  EXPECT_EQ(read->FindNode("hub", 1)->zone, "");
  ASSERT_EQ(read->externals.size(), 2u);
  EXPECT_EQ(EndpointsOf(read->externals[0]),
            (std::vector<std::string>{"tfs+grpc://10.0.0.5:8500?model=ranker&target=legacy/ranker&version=3",
                                      "tfs+https://h:1?ca_file=/ca&model=ranker&target=legacy/ranker&version=3"}));
  EXPECT_EQ(EndpointsOf(read->externals[1])[0], "v2+http://[::1]:8000?model=plain&target=plain");
  Revision other = written;
  other.externals[0].version = 4;
  EXPECT_FALSE(written.SaysTheSameAs(other));
}

TEST(RevisionTest, ServedVersionsAreReadBack) {
  Revision written;
  written.number = 1;
  written.models = {{.name = "latest", .path = "/l", .versions = {.num_versions = 2}, .labels = {{"stable", 3}}},
                    {.name = "all", .path = "/a", .versions = {.kind = VersionPolicy::Kind::kAll}, .on_demand = true},
                    {.name = "some",
                     .path = "/s",
                     .versions = {.kind = VersionPolicy::Kind::kSpecific, .versions = {1, 3}},
                     .resource_preserving = true,
                     .shares = {{"digit", 2}, {"hub/x", 1000}}}};
  const auto read = Read(FormatRevision(written));
  ASSERT_TRUE(read.ok()) << read.status() << FormatRevision(written);
  for (size_t i = 0; i < written.models.size(); ++i) {
    EXPECT_EQ(read->models[i].versions, written.models[i].versions);
    EXPECT_EQ(read->models[i].labels, written.models[i].labels);
    EXPECT_EQ(read->models[i].resource_preserving, written.models[i].resource_preserving);
    EXPECT_EQ(read->models[i].on_demand, written.models[i].on_demand);
    EXPECT_EQ(read->models[i].shares, written.models[i].shares);
  }
}

TEST(RevisionTest, TargetsWithoutAPolicyHaveTheDefault) {
  const Revision revision = SampleRevision();
  EXPECT_EQ(revision.PolicyFor("hub/enc").timeout, absl::Seconds(2));
  EXPECT_EQ(revision.PolicyFor("digit").timeout, absl::Milliseconds(150));
}

TEST(RevisionTest, EmptyRevisionIsReadBack) {
  const auto read = Read(FormatRevision(Revision()));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->nodes.empty());
}

TEST(RevisionTest, WhatIsWrongIsNamedWithItsLine) {
  const std::string head = "revision: 1\nmodels:\n  - {name: a, path: /a}\n";
  const struct {
    std::string text;
    const char* want;
  } cases[] = {
      {"models: []\nnodes: []\n", "r.yaml:1: revision: got no 'revision', 'models' or 'nodes'"},
      {head + "nodes: []\nextra: 1\n", "r.yaml:5: revision: got unknown key 'extra'"},
      {"revision: 1\nmodels:\n  - {name: a, path: a}\nnodes: []\n",
       "r.yaml:3: model 'a': path: got 'a', want an absolute path"},
      {"revision: 1\nmodels:\n  - {name: a, path: /a}\n  - {name: a, path: /b}\nnodes: []\n",
       "r.yaml:4: model 'a': is there twice"},
      {head + "nodes:\n  - {name: n, serve: [b]}\n",
       "r.yaml:5: node 'n/0': got model 'b' to serve, want one of 'models'"},
      {head + "nodes:\n  - {name: n}\n  - {name: n}\n", "r.yaml:6: node 'n/0': is there twice"},
      {head + "nodes: []\ndefault_policy: {balance: coin}\n", "r.yaml:5: default_policy: balance: "},
      {head + "nodes: []\npolicies:\n  a: {timeout: 5}\n", "r.yaml:6: policy 'a': timeout: got '5', want a duration"},
  };
  for (const auto& test : cases) {
    const auto read = Read(test.text);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument) << test.text;
    EXPECT_THAT(std::string(read.status().message()), HasSubstr(test.want)) << test.text;
  }
}

}  // namespace
}  // namespace portico
