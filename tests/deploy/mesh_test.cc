#include "deploy/mesh.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/deploy/mesh_fixture.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class MeshTest : public ::testing::Test {
 protected:
  MeshTest() {
    folder_.WritePlain("a");
    folder_.WritePlain("hub/b");
  }

  /// The message of the error without the folder in front: "mesh.yaml:3: ...".
  std::string ErrorOf(absl::string_view text) {
    const auto mesh = ReadMeshFile(folder_.WriteMesh(text));
    EXPECT_EQ(mesh.status().code(), absl::StatusCode::kInvalidArgument) << text;
    const std::string message(mesh.status().message());
    EXPECT_THAT(message, StartsWith(folder_.path() + "/"));
    return message.substr(folder_.path().size() + 1);
  }
  /// The same of a file whose lines 1 to 4 are fine; `nodes` begins in line 5, behind `nodes:`.
  std::string NodesErrorOf(absl::string_view nodes) {
    return ErrorOf(absl::StrCat("mesh: m\nmodels:\n  a: {path: packages/a}\nnodes:\n", nodes));
  }

  MeshFolder folder_;
};

TEST_F(MeshTest, ServedVersionsAndLabels) {
  const auto mesh = ReadMeshFile(folder_.WriteMesh(R"(
mesh: m
models:
  a: {path: packages/a, versions: {latest: 2}, labels: {stable: 1, canary: 4}}
  hub/b: {path: packages/hub/b, versions: [1, 7], resource_preserving: true}
nodes:
  n: {serve: [a, hub/b]}
)"));
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  const Revision::Model& a = *mesh->revision.FindModel("a");
  EXPECT_EQ(a.versions.num_versions, 2);
  EXPECT_EQ(a.labels, (std::map<std::string, int64_t>{{"stable", 1}, {"canary", 4}}));
  const Revision::Model& b = *mesh->revision.FindModel("hub/b");
  EXPECT_EQ(b.versions.versions, (std::vector<int64_t>{1, 7}));
  EXPECT_TRUE(b.resource_preserving);
}

TEST_F(MeshTest, VersionsThatMakeNoSense) {
  const auto error_of = [&](const std::string& keys) {
    return ErrorOf(absl::StrCat("mesh: m\nmodels:\n  a: {path: packages/a, ", keys, "}\nnodes:\n  n: {serve: [a]}\n"));
  };
  EXPECT_EQ(error_of("versions: some"),
            "mesh.yaml:3: model 'a': versions: want {latest: 2}, all, or a list of versions such as [1, 3]");
  EXPECT_THAT(error_of("versions: []"), StartsWith("mesh.yaml:3: model 'a': versions: want"));
  EXPECT_THAT(error_of("versions: {latest: 0}"), StartsWith("mesh.yaml:3: model 'a': versions: latest: got "));
  EXPECT_THAT(error_of("versions: {newest: 1}"), StartsWith("mesh.yaml:3: model 'a': versions: "));
  EXPECT_THAT(error_of("versions: [1, -2]"), StartsWith("mesh.yaml:3: model 'a': versions: got "));
  EXPECT_THAT(error_of("versions: [1, 1]"), StartsWith("mesh.yaml:3: model 'a': versions: got 1 twice"));
  EXPECT_THAT(error_of("versions: [9]"), StartsWith("mesh.yaml:3: model 'a': versions: got none that is in "));
  EXPECT_THAT(error_of("labels: {stable: x}"), StartsWith("mesh.yaml:3: model 'a': labels: stable: got "));
  EXPECT_THAT(error_of("result_cache_mib: -1"), StartsWith("mesh.yaml:3: model 'a': result_cache_mib: got "));
  EXPECT_THAT(error_of("on_demand: maybe"), StartsWith("mesh.yaml:3: model 'a': on_demand: got 'maybe'"));
}

TEST_F(MeshTest, SharesOfProducts) {
  const auto with = [&](const std::string& shares) {
    return absl::StrCat("mesh: m\nmodels:\n  a: {path: packages/a}\n  hub/b: {path: packages/hub/b, shares: ", shares,
                        "}\nnodes:\n  n: {serve: [a, hub/b]}\n");
  };
  const auto mesh = ReadMeshFile(folder_.WriteMesh(with("{a: 3, hub/b: 1}")));
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  EXPECT_EQ(mesh->revision.FindModel("hub/b")->shares, (std::map<std::string, int64_t>{{"a", 3}, {"hub/b", 1}}));
  EXPECT_EQ(
      ErrorOf(with("{a: 3, digt: 2}")),
      "mesh.yaml:4: model 'hub/b': shares: got product 'digt', which is no model of the mesh, want one of a, hub/b");
  EXPECT_THAT(ErrorOf(with("{a: 0}")), StartsWith("mesh.yaml:4: model 'hub/b': shares: a: got "));
  EXPECT_THAT(ErrorOf(with("[a]")), StartsWith("mesh.yaml:4: model 'hub/b': shares: "));
}

TEST_F(MeshTest, KeysOfNodesAreFilesFromTheMeshFilesFolderOn) {
  const auto mesh = ReadMeshFile(folder_.WriteMesh(R"(
mesh: m
models:
  a: {path: packages/a}
nodes:
  hub:
    serve: [a]
    peer: zmq+tcp://10.0.0.1:7000
    http_threads: 2
    security: {curve_key: keys/hub, curve_allow: /etc/allow, curve_server_key: keys/pub}
  front:
    serve: [a]
    security: {tls_key: k, tls_cert: c, tls_allow: a, tls_roots: r}
    tls: {key: front.key, cert: front.crt, client_ca: ca.pem}
    tenants: tenants.yaml
)"));
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  // As nodes read it.
  const auto revision = ParseRevision(FormatRevision(mesh->revision), "r.yaml");
  ASSERT_TRUE(revision.ok()) << revision.status();
  const Revision::Node& hub = *revision->FindNode("hub", 0);
  EXPECT_EQ(hub.http_threads, 2);
  NodeKeys keys;
  keys.curve_key = folder_.path() + "/keys/hub";
  keys.curve_allow = "/etc/allow";
  keys.curve_server_key = folder_.path() + "/keys/pub";
  EXPECT_EQ(hub.keys, keys);
  const NodeKeys& front = revision->FindNode("front", 0)->keys;
  EXPECT_EQ(front.peer_tls_key, folder_.path() + "/k");
  EXPECT_EQ(front.peer_tls_cert, folder_.path() + "/c");
  EXPECT_EQ(front.peer_tls_allow, folder_.path() + "/a");
  EXPECT_EQ(front.peer_tls_roots, folder_.path() + "/r");
  EXPECT_EQ(front.tls_key, folder_.path() + "/front.key");
  EXPECT_EQ(front.tls_cert, folder_.path() + "/front.crt");
  EXPECT_EQ(front.tls_client_ca, folder_.path() + "/ca.pem");
  EXPECT_EQ(front.tenants, folder_.path() + "/tenants.yaml");
  EXPECT_TRUE(mesh->revision.SaysTheSameAs(*revision));
}

TEST_F(MeshTest, WhatModelsKeepAndRunByReachesNodes) {
  const auto mesh = ReadMeshFile(folder_.WriteMesh(R"(
mesh: m
models:
  a: {path: packages/a, result_cache_mib: 256, providers: [{cuda: {device_id: 1, gpu_mem_limit: 2147483648}}]}
nodes:
  gpu: {serve: [a], cpus: "0-3,8", providers: [tensorrt, cuda, cpu]}
)"));
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  const auto revision = ParseRevision(FormatRevision(mesh->revision), "r.yaml");
  ASSERT_TRUE(revision.ok()) << revision.status();
  const Revision::Model& model = *revision->FindModel("a");
  EXPECT_EQ(model.result_cache_mib, 256);
  const std::vector<ExecutionProvider> on_device = {{"cuda", {{"device_id", "1"}, {"gpu_mem_limit", "2147483648"}}}};
  EXPECT_EQ(model.providers, on_device);
  const Revision::Node& node = *revision->FindNode("gpu", 0);
  EXPECT_EQ(node.cpus, "0-3,8");
  EXPECT_EQ(ProviderNames(node.providers), "tensorrt, cuda, cpu");
  EXPECT_TRUE(mesh->revision.SaysTheSameAs(*revision));
}

TEST_F(MeshTest, PlacementsThatMakeNoSense) {
  const auto error_of = [&](absl::string_view keys) {
    return NodesErrorOf(absl::StrCat("  n:\n    serve: [a]\n    ", keys, "\n"));
  };
  EXPECT_THAT(error_of("providers: [cdua, cpu]"),
              StartsWith("mesh.yaml:7: node 'n': execution provider 'cdua': got a name that is none, want one of "));
  EXPECT_THAT(error_of("providers: [cpu, cuda]"),
              StartsWith("mesh.yaml:7: node 'n': execution provider 'cpu': got others behind it, want it last"));
  EXPECT_THAT(error_of("providers: cuda"), StartsWith("mesh.yaml:7: node 'n': providers: got "));
  EXPECT_THAT(error_of("providers: []"), StartsWith("mesh.yaml:7: node 'n': providers: got none, want at least one"));
  EXPECT_THAT(error_of("providers: [{cuda: {device_id: 1}, cpu: {}}]"),
              StartsWith("mesh.yaml:7: node 'n': providers: got 2 keys, want one provider with its options"));
  EXPECT_THAT(error_of("cpus: 3-1"),
              StartsWith("mesh.yaml:7: node 'n': cpus: got '3-1', want numbers of cores, rising, such as 0-3,8"));
}

TEST_F(MeshTest, KeysThatWantOthersAreNamed) {
  const auto error_of = [&](absl::string_view keys) {
    return NodesErrorOf(absl::StrCat("  n:\n    serve: [a]\n    ", keys, "\n"));
  };
  EXPECT_EQ(error_of("security: {curve_key: k}"),
            "mesh.yaml:7: node 'n': security: got some of the CURVE keys, want curve_key, a node's own, and "
            "curve_allow, who may connect; add what is missing");
  EXPECT_THAT(error_of("security: {tls_key: k, tls_cert: c}"),
              StartsWith("mesh.yaml:7: node 'n': security: got some of the TLS keys, want"));
  EXPECT_THAT(error_of("security: {curve_key: k, curve_allow: a, tls_key: k, tls_cert: c, tls_allow: a}"),
              StartsWith("mesh.yaml:7: node 'n': security: got keys of CURVE and of TLS, want one of them"));
  EXPECT_THAT(error_of("security: {curve: k}"),
              StartsWith("mesh.yaml:7: node 'n': security: got key 'curve', want one of curve_key, curve_allow"));
  EXPECT_THAT(error_of("tls: {client_ca: k}"), StartsWith("mesh.yaml:7: node 'n': tls: got some of the keys"));
  EXPECT_THAT(error_of("tls: k"), StartsWith("mesh.yaml:7: node 'n': tls: got "));
  EXPECT_THAT(error_of("http_threads: 1000"), StartsWith("mesh.yaml:7: node 'n': http_threads: got "));
}

TEST_F(MeshTest, ReplicasDefaultsAndPathsAreFilledIn) {
  const auto mesh = ReadMeshFile(folder_.WriteMesh(R"(
mesh: digits
models:
  a: {path: packages/a}
  hub/b: {path: packages/../packages/hub/b}
nodes:
  hub: {serve: [hub/b], replicas: 2, grpc: 0}
  apps:
    serve: [a, hub/b]
    http: 8501
    grpc: "[::1]:8500"
    peer: tcp://127.0.0.1:9000
    workers: 3
policies:
  hub/b: {balance: p2c}
  default: {timeout: 150ms}
)"));
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  const Revision& revision = mesh->revision;
  EXPECT_EQ(revision.mesh, "digits");
  EXPECT_EQ(revision.FindModel("a")->path, folder_.path() + "/packages/a");
  EXPECT_EQ(revision.FindModel("hub/b")->path, folder_.path() + "/packages/hub/b");
  ASSERT_EQ(revision.nodes.size(), 3u);
  EXPECT_EQ(revision.nodes[0].id(), "hub/0");
  EXPECT_EQ(revision.nodes[1].id(), "hub/1");
  EXPECT_EQ(revision.nodes[1].grpc, "127.0.0.1:0");
  EXPECT_EQ(revision.nodes[1].peer, "");
  EXPECT_EQ(revision.nodes[1].http, "");
  const Revision::Node* apps = revision.FindNode("apps", 0);
  ASSERT_NE(apps, nullptr);
  EXPECT_THAT(apps->serve, ElementsAre("a", "hub/b"));
  EXPECT_EQ(apps->http, "127.0.0.1:8501");
  EXPECT_EQ(apps->grpc, "[::1]:8500");
  EXPECT_EQ(apps->peer, "tcp://127.0.0.1:9000");
  EXPECT_EQ(apps->workers, 3);
  EXPECT_EQ(revision.default_policy.timeout, absl::Milliseconds(150));
  // What a target leaves out is as in the default, which stands below it here.
  EXPECT_EQ(revision.PolicyFor("hub/b").timeout, absl::Milliseconds(150));
}

TEST_F(MeshTest, FileThatIsNotThereIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(ReadMeshFile(folder_.path() + "/none.yaml").status()));
}

TEST_F(MeshTest, MissingSectionsAndUnknownKeysAreRefused) {
  EXPECT_EQ(ErrorOf("mesh: m\nmodels: {}\n"),
            "mesh.yaml:1: mesh file: got no 'nodes', want the keys mesh, models and nodes; add 'nodes:'");
  EXPECT_EQ(ErrorOf("mesh: m\nmodels: {}\nnode: {}\n"),
            "mesh.yaml:3: mesh file: got unknown key 'node', want one of mesh, hub, models, external, tables, "
            "nodes, policies, traffic");
  EXPECT_EQ(ErrorOf("mesh: m\nmodels: {}\nnodes: {}\n"), "mesh.yaml:3: nodes: got none, want at least one");
  EXPECT_EQ(ErrorOf("mesh: m\nmodels: [a]\nnodes: {}\n"), "mesh.yaml:2: models: got a list, want a map");
  EXPECT_EQ(NodesErrorOf("  n:\n    serve: [a]\n    replica: 2\n"),
            "mesh.yaml:7: node 'n': got unknown key 'replica', want one of serve, replicas, grpc, http, peer, workers, "
            "http_threads, huge_pages_mib, cpus, providers, zone, security, tls, tenants");
}

TEST_F(MeshTest, NamesThatAreThereTwiceAreRefused) {
  EXPECT_EQ(NodesErrorOf("  n: {serve: [a]}\n  n: {serve: [a]}\n"),
            "mesh.yaml:6: key 'n': is there twice, first in line 5; rename or remove one");
  EXPECT_EQ(ErrorOf("mesh: m\nmodels:\n  a: {path: packages/a}\n  a: {path: packages/a}\nnodes: {n: {serve: [a]}}\n"),
            "mesh.yaml:4: key 'a': is there twice, first in line 3; rename or remove one");
}

TEST_F(MeshTest, PathsThatAreNotThereAreRefused) {
  const std::string rest = "nodes:\n  n: {serve: [x]}\n";
  EXPECT_EQ(
      ErrorOf("mesh: m\nmodels:\n  x: {path: packages/none}\n" + rest),
      "mesh.yaml:3: model 'x': path: got 'packages/none', which is no folder, want the folder with version folders (" +
          folder_.path() + "/packages/none/1/model.onnx); relative paths start at the mesh file");
  EXPECT_EQ(ErrorOf("mesh: m\nmodels:\n  x: {path: packages/hub}\n" + rest),
            "mesh.yaml:3: model 'x': path: got '" + folder_.path() +
                "/packages/hub' without a version folder, want one such as '" + folder_.path() +
                "/packages/hub/1' with a model.onnx; check the path or write the package there");
  EXPECT_EQ(ErrorOf("mesh: m\nmodels:\n  x: {}\n" + rest),
            "mesh.yaml:3: model 'x': got no 'path', want the folder with its version folders; add {path: FOLDER}");
}

TEST_F(MeshTest, PackageThatCannotBeReadIsRefusedAtItsModel) {
  folder_.WritePlain("broken");
  std::ofstream(folder_.ModelFile("broken"), std::ios::trunc) << "not a model";
  EXPECT_THAT(
      ErrorOf(
          "mesh: m\nmodels:\n  a: {path: packages/a}\n  broken: {path: packages/broken}\nnodes:\n  n: {serve: [a]}\n"),
      StartsWith("mesh.yaml:4: model 'broken': "));
}

TEST_F(MeshTest, NodesThatServeNothingOrWhatIsNotThereAreRefused) {
  EXPECT_EQ(NodesErrorOf("  n: {grpc: 0}\n"),
            "mesh.yaml:5: node 'n': got no 'serve', want the models it serves; add serve: [MODEL]");
  EXPECT_EQ(NodesErrorOf("  n: {serve: []}\n"),
            "mesh.yaml:5: node 'n': serve: got an empty list, want at least one model; name one or remove the node");
  EXPECT_EQ(NodesErrorOf("  n:\n    serve:\n      - a\n      - b\n"),
            "mesh.yaml:8: node 'n': serve: got 'b', want one of 'models' (a); add it there or mend the name");
  EXPECT_EQ(NodesErrorOf("  n: {serve: [a, a]}\n"),
            "mesh.yaml:5: node 'n': serve: got 'a' twice, want it once; remove one");
  EXPECT_EQ(NodesErrorOf("  n: {serve: a}\n"), "mesh.yaml:5: node 'n': serve: got 'a', want a list such as [a, b]");
}

TEST_F(MeshTest, BadNamesAreRefused) {
  EXPECT_THAT(NodesErrorOf("  'n 1': {serve: [a]}\n"),
              StartsWith("mesh.yaml:5: node 'n 1': got a name that is no good"));
  EXPECT_THAT(NodesErrorOf("  ../n: {serve: [a]}\n"),
              StartsWith("mesh.yaml:5: node '../n': got a name that is no good"));
  for (const char* name : {"default", "a/b/c", "/a", "a//b", "..", "'a b'"}) {
    EXPECT_THAT(ErrorOf(absl::StrCat("mesh: m\nmodels:\n  ", name, ": {path: packages/a}\nnodes: {n: {serve: [a]}}\n")),
                ::testing::ContainsRegex("^mesh.yaml:3: model '.*': got a name that is no good"))
        << name;
  }
}

TEST_F(MeshTest, BadNumbersAreRefused) {
  EXPECT_EQ(NodesErrorOf("  n: {serve: [a], replicas: 0}\n"),
            "mesh.yaml:5: node 'n': replicas: got '0', want a whole number from 1 to 256");
  EXPECT_EQ(NodesErrorOf("  n: {serve: [a], workers: many}\n"),
            "mesh.yaml:5: node 'n': workers: got 'many', want a whole number from 0 to 4096");
}

TEST_F(MeshTest, BadAddressesAreRefused) {
  EXPECT_EQ(
      NodesErrorOf("  n: {serve: [a], http: 99999}\n"),
      "mesh.yaml:5: node 'n': http: got '99999', want a port from 0 to 65535, or HOST:PORT such as 127.0.0.1:8500");
  for (const char* peer : {"9000", "http://127.0.0.1:9000", "tcp://127.0.0.1:0", "unix://relative", "shm://relative",
                           "zmq+tcp://127.0.0.1:0", "zmq+tcp://9000", "zmq+ipc://relative"}) {
    EXPECT_THAT(
        NodesErrorOf(absl::StrCat("  n: {serve: [a], peer: '", peer, "'}\n")),
        StartsWith(absl::StrCat("mesh.yaml:5: node 'n': peer: got '", peer, "', want tcp://HOST:PORT, unix:///PATH")))
        << peer;
  }
}

TEST_F(MeshTest, PortsThatTwoClaimAreRefused) {
  EXPECT_EQ(NodesErrorOf("  n: {serve: [a], grpc: 8500}\n  m:\n    serve: [a]\n    http: 0.0.0.0:8500\n"),
            "mesh.yaml:8: node 'm': http: got 0.0.0.0:8500, which clashes with 127.0.0.1:8500 of node 'n': grpc in "
            "line 5; want a free "
            "port, or 0 to let the system choose");
  EXPECT_THAT(NodesErrorOf("  n: {serve: [a], grpc: 8500, peer: 'zmq+tcp://localhost:8500'}\n"),
              StartsWith("mesh.yaml:5: node 'n': peer: got localhost:8500, which clashes with"));
  EXPECT_THAT(NodesErrorOf("  n: {serve: [a], peer: 'shm:///x'}\n  m: {serve: [a], peer: 'shm:///x'}\n"),
              StartsWith("mesh.yaml:6: node 'm': peer: got 'shm:///x', which another node has"));
  EXPECT_THAT(NodesErrorOf("  n: {serve: [a], peer: 'zmq+ipc:///x'}\n  m: {serve: [a], peer: 'zmq+ipc:///x'}\n"),
              StartsWith("mesh.yaml:6: node 'm': peer: got 'zmq+ipc:///x', which another node has"));
  EXPECT_EQ(NodesErrorOf("  n: {serve: [a], replicas: 2, grpc: 8500}\n"),
            "mesh.yaml:5: node 'n': grpc: got port 8500 for 2 replicas, which can't share it, want 0; the system then "
            "chooses one for "
            "each");
  EXPECT_THAT(NodesErrorOf("  n: {serve: [a], replicas: 2, peer: 'zmq+ipc:///x'}\n"),
              StartsWith("mesh.yaml:5: node 'n': peer: got 'zmq+ipc:///x' for 2 replicas"));
}

TEST_F(MeshTest, BadPoliciesAreRefused) {
  const std::string nodes = "  n: {serve: [a]}\npolicies:\n";
  EXPECT_EQ(NodesErrorOf(nodes + "  default: {timeout: 100}\n"),
            "mesh.yaml:7: policy 'default': timeout: got '100', want a duration with its unit, such as 100ms or 2s");
  EXPECT_THAT(NodesErrorOf(nodes + "  a:\n    balance: dice\n"), StartsWith("mesh.yaml:8: policy 'a': balance: "));
  EXPECT_THAT(NodesErrorOf(nodes + "  default: {hedging: 1}\n"),
              StartsWith("mesh.yaml:7: policy 'default': got unknown key 'hedging', want one of timeout, balance, "
                         "retries, "));
  EXPECT_EQ(NodesErrorOf(nodes + "  b: {timeout: 1s}\n"),
            "mesh.yaml:7: policy 'b': got a target that is no model, want 'default' or one of 'models' (a) or of "
            "'external'; mend the name");
}

TEST_F(MeshTest, ExternalTargetsAndZonesAreRead) {
  const auto mesh = ReadMeshFile(folder_.WriteMesh(R"(
mesh: m
models:
  a: {path: packages/a}
external:
  legacy/ranker: {peers: ["tfs+grpc://10.0.0.5:8500", "tfs+https://ranker:8501?ca_file=/ca"], model: ranker, version: 3,
                  signature: rank}
  plain: {peers: ["v2+http://[::1]:8000"]}
nodes:
  n: {serve: [a], zone: eu-1, replicas: 2}
policies:
  default: {timeout: 1s}
  legacy/ranker: {retries: 0}
)"));
  ASSERT_TRUE(mesh.ok()) << mesh.status();
  const Revision& revision = mesh->revision;
  EXPECT_EQ(revision.FindNode("n", 1)->zone, "eu-1");
  const Revision::External& ranker = *revision.FindExternal("legacy/ranker");
  EXPECT_THAT(ranker.peers, ElementsAre("tfs+grpc://10.0.0.5:8500", "tfs+https://ranker:8501?ca_file=/ca"));
  EXPECT_EQ(ranker.model, "ranker");
  EXPECT_EQ(ranker.version, 3);
  EXPECT_EQ(ranker.signature, "rank");
  EXPECT_EQ(revision.FindExternal("plain")->model, "plain");
  EXPECT_EQ(revision.FindExternal("plain")->signature, "serving_default");
  EXPECT_EQ(revision.PolicyFor("legacy/ranker").retries, 0);
  EXPECT_EQ(revision.PolicyFor("legacy/ranker").timeout, absl::Seconds(1));
}

TEST_F(MeshTest, BadExternalTargetsAreRefused) {
  const auto error_of = [&](const std::string& external) {
    return ErrorOf(absl::StrCat("mesh: m\nmodels:\n  a: {path: packages/a}\nexternal:\n  ", external,
                                "\nnodes:\n  n: {serve: [a]}\n"));
  };
  EXPECT_THAT(error_of("a: {peers: ['v2+http://h:1']}"), StartsWith("mesh.yaml:5: external 'a': got a name that"));
  EXPECT_THAT(error_of("b c: {peers: ['v2+http://h:1']}"), StartsWith("mesh.yaml:5: external 'b c': got a name"));
  EXPECT_EQ(error_of("b: {model: c}"),
            "mesh.yaml:5: external 'b': got no 'peers', want its servers; add {peers: [v2+grpc://HOST:PORT]}");
  EXPECT_THAT(error_of("b: {peers: []}"), StartsWith("mesh.yaml:5: external 'b': peers: got 0 servers"));
  EXPECT_THAT(error_of("b: {peers: ['tcp://h:1']}"),
              StartsWith("mesh.yaml:5: external 'b': peers: endpoint 'tcp://h:1'"));
  EXPECT_THAT(error_of("b: {peers: ['v2+http://h:1', 'v2+http://h:1']}"), HasSubstr("twice"));
  EXPECT_THAT(error_of("b: {peers: ['v2+http://h:1?model=c']}"), HasSubstr("want it as a key of its own"));
  EXPECT_THAT(error_of("b: {peers: ['v2+http://h:1'], model: 'c&d'}"), HasSubstr("external 'b': model: got 'c&d'"));
  EXPECT_THAT(error_of("b: {peers: ['v2+http://h:1'], version: -1}"), HasSubstr("external 'b': version: "));
  EXPECT_THAT(error_of("b: {peers: ['v2+http://h:1'], signature: rank}"), HasSubstr("want 'serving_default'"));
  EXPECT_THAT(error_of("b: {peer: ['v2+http://h:1']}"), HasSubstr("unknown key 'peer'"));
}

}  // namespace
}  // namespace portico
