#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/file.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "node/frontend/http_server.h"
#include "node/node.h"
#include "tensorflow_serving/model_service.grpc.pb.h"
#include "tests/node/frontend/raw_http.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

/// A root, a server and a client that it signed, and a client that signed itself; made with the openssl command.
class TlsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Openssl("req -x509 -newkey rsa:2048 -nodes -subj /CN=root -days 2 -keyout root.key -out root.pem");
    for (const char* name : {"server", "client"}) Sign(name, name);
    Openssl("req -x509 -newkey rsa:2048 -nodes -subj /CN=stranger -days 2 -keyout stranger.key -out stranger.pem");
  }

  ServerTls Tls(bool mutual) {
    ServerTls tls;
    tls.private_key = Pem("server.key");
    tls.certificates = Pem("server.pem");
    if (mutual) tls.client_roots = Pem("root.pem");
    return tls;
  }

  std::string Pem(const std::string& name) {
    const auto text = ReadFile(folder_.File(name), 1 << 20);
    EXPECT_TRUE(text.ok()) << text.status();
    return text.value_or("");
  }

  void Openssl(const std::string& arguments) {
    if (!named_) folder_.Write("names", "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
    named_ = true;
    ASSERT_EQ(Shell(absl::StrCat("openssl ", arguments)).first, 0) << arguments;
  }

  /// Exit status and output of a command in the folder.
  std::pair<int, std::string> Shell(const std::string& command) {
    FILE* const pipe = popen(absl::StrCat("cd '", folder_.File(""), "' && ", command, " 2>&1").c_str(), "r");
    std::string output;
    char buffer[4096];
    for (size_t n; (n = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) output.append(buffer, n);
    return {pclose(pipe), output};
  }

  /// What curl gets of https://…/path.
  std::pair<int, std::string> Curl(const std::string& address, const std::string& arguments) {
    return Shell(absl::StrCat("curl -sS --max-time 20 --cacert root.pem https://", address, arguments));
  }

  /// CN of the certificate that a handshake with `address` shows.
  std::string Subject(const std::string& address) {
    return Shell(
               absl::StrCat("openssl s_client -connect ", address,
                            " -cert client.pem -key client.key -CAfile root.pem </dev/null 2>/dev/null | openssl x509 "
                            "-noout -subject"))
        .second;
  }

  /// Signed by the root.
  void Sign(const std::string& name, const std::string& subject) {
    Openssl(
        absl::StrCat("req -newkey rsa:2048 -nodes -subj /CN=", subject, " -keyout ", name, ".key -out ", name, ".csr"));
    Openssl(absl::StrCat("x509 -req -in ", name, ".csr -CA root.pem -CAkey root.key -CAcreateserial -days 2 ",
                         "-extfile names -out ", name, ".pem"));
  }

  const TempFolder folder_;
  bool named_ = false;
};

void Echo(const HttpRequest& request, HttpServer::Respond respond) {
  HttpReply reply;
  reply.body = absl::StrCat(request.path, " ", request.body);
  respond(std::move(reply));
}

TEST_F(TlsTest, HttpAnswersInTls) {
  HttpServer::Options options;
  options.tls = Tls(false);
  const auto server = HttpServer::Start(std::move(options), Echo);
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string& address = (*server)->address();
  EXPECT_EQ(Curl(address, "/a -d body").second, "/a body");
  // Two requests of one connection, a body of many records, a connection that is closed.
  EXPECT_EQ(Curl(address, absl::StrCat("/a https://", address, "/b")).second, "/a /b ");
  folder_.Write("large", std::string(3 << 20, 'x'));
  EXPECT_EQ(Curl(address, "/ --data-binary @large").second.size(), (3u << 20) + 2);
  EXPECT_EQ(Curl(address, "/c -H 'Connection: close'").second, "/c ");
  EXPECT_NE(Curl(address, "/ --tls-max 1.1").first, 0);
  // A client that speaks plain HTTP gets no answer; the server goes on.
  RawHttp plain(address);
  EXPECT_EQ(plain.Get("/").code, 0);
  EXPECT_EQ(Curl(address, "/d").second, "/d ");
}

TEST_F(TlsTest, MutualTlsWantsACertificateOfTheRoots) {
  HttpServer::Options options;
  options.tls = Tls(true);
  const auto server = HttpServer::Start(std::move(options), Echo);
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string& address = (*server)->address();
  EXPECT_EQ(Curl(address, "/a --cert client.pem --key client.key").second, "/a ");
  EXPECT_NE(Curl(address, "/a").first, 0);
  EXPECT_NE(Curl(address, "/a --cert stranger.pem --key stranger.key").first, 0);
}

TEST_F(TlsTest, HandshakeThatDoesNotComeIsGivenUp) {
  HttpServer::Options options;
  options.tls = Tls(false);
  options.header_timeout = absl::Milliseconds(50);
  const auto server = HttpServer::Start(std::move(options), Echo);
  ASSERT_TRUE(server.ok()) << server.status();
  RawHttp silent((*server)->address());
  EXPECT_TRUE(silent.Closed());
}

TEST_F(TlsTest, KeysThatAreNoneAreRefused) {
  HttpServer::Options options;
  options.tls = Tls(false);
  options.tls.private_key = "nonsense";
  EXPECT_EQ(HttpServer::Start(options, Echo).status().code(), absl::StatusCode::kInvalidArgument);
  options.tls.private_key = Pem("client.key");
  EXPECT_EQ(HttpServer::Start(options, Echo).status().code(), absl::StatusCode::kInvalidArgument);
}

/// A node with the model m and both listeners.
class TlsNodeTest : public TlsTest {
 protected:
  Node::Options Options(bool mutual = true) {
    ModelBuilder model;
    model.Input("x", DType::kFloat, {"N"}).Output("y", DType::kFloat, {"N"}).Node("Identity", {"x"}, {"y"});
    model.WriteTo(folder_.File("m/1/model.onnx"));
    Node::Options options;
    options.grpc.address = options.http.address = "127.0.0.1:0";
    options.grpc.tls = options.http.tls = Tls(mutual);
    options.models = {{"m", folder_.Folder("m")}};
    return options;
  }

  /// Whether a gRPC client on a connection of its own is told the model's status.
  bool Ask(const Node& node, const std::string& key, const std::string& certificate) {
    grpc::SslCredentialsOptions ssl;
    ssl.pem_root_certs = Pem("root.pem");
    ssl.pem_private_key = key;
    ssl.pem_cert_chain = certificate;
    grpc::ChannelArguments own;
    own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto stub = tensorflow::serving::ModelService::NewStub(
        grpc::CreateCustomChannel(node.grpc_address(), grpc::SslCredentials(ssl), own));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    tensorflow::serving::GetModelStatusRequest request;
    request.mutable_model_spec()->set_name("m");
    tensorflow::serving::GetModelStatusResponse response;
    return stub->GetModelStatus(&context, request, &response).ok();
  }
};

TEST_F(TlsNodeTest, ChangedKeysAreUsedWithoutDroppingConnections) {
  Node::Options options = Options();
  for (const char* name : {"server.key", "server.pem", "root.pem"}) {
    options.tls_files.files.paths.push_back(folder_.File(name));
  }
  options.tls_files.files.period = absl::Milliseconds(10);
  options.tls_files.read = [](const std::vector<std::string>& texts) -> absl::StatusOr<ServerTls> {
    return ServerTls{texts[0], texts[1], texts[2]};
  };
  const auto node = Node::Start(std::move(options));
  ASSERT_TRUE(node.ok()) << node.status();
  const std::string http = (*node)->http_address(), grpc_address = (*node)->grpc_address();
  EXPECT_THAT(Subject(http), HasSubstr("CN = server"));
  EXPECT_THAT(Subject(grpc_address), HasSubstr("CN = server"));

  grpc::SslCredentialsOptions ssl{Pem("root.pem"), Pem("client.key"), Pem("client.pem")};
  const auto channel = grpc::CreateChannel(grpc_address, grpc::SslCredentials(ssl));
  ASSERT_TRUE(channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(20)));
  // One HTTP connection from before the change until after it.
  FILE* const client = popen(absl::StrCat("cd '", folder_.File(""), "' && openssl s_client -quiet -connect ", http,
                                          " -cert client.pem -key client.key > out 2>/dev/null")
                                 .c_str(),
                             "w");
  const auto say = [&] {
    std::fputs("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", client);
    std::fflush(client);
  };
  const auto answers = [&] {
    size_t count = 0;
    const std::string text = ReadFile(folder_.File("out"), 1 << 20).value_or("");
    for (size_t at = 0; (at = text.find("HTTP/1.1 200", at)) != text.npos; ++at) ++count;
    return count;
  };
  const absl::Time limit = absl::Now() + absl::Seconds(60);
  say();
  while (answers() < 1 && absl::Now() < limit) absl::SleepFor(absl::Milliseconds(5));
  ASSERT_EQ(answers(), 1u);

  // Keys that are none, and keys without their certificate, change nothing.
  const std::string key = Pem("server.key");
  ASSERT_TRUE(WriteFileAtomically(folder_.File("server.key"), "nonsense").ok());
  absl::SleepFor(absl::Milliseconds(100));
  ASSERT_TRUE(WriteFileAtomically(folder_.File("server.key"), Pem("client.key")).ok());
  absl::SleepFor(absl::Milliseconds(100));
  EXPECT_THAT(Subject(http), HasSubstr("CN = server"));
  EXPECT_THAT(Subject(grpc_address), HasSubstr("CN = server"));

  Sign("next", "renewed");
  ASSERT_TRUE(WriteFileAtomically(folder_.File("server.pem"), Pem("next.pem")).ok());
  ASSERT_TRUE(WriteFileAtomically(folder_.File("server.key"), Pem("next.key")).ok());
  while (Subject(http).find("renewed") == std::string::npos && absl::Now() < limit) {
  }
  EXPECT_THAT(Subject(http), HasSubstr("CN = renewed"));
  EXPECT_THAT(Subject(grpc_address), HasSubstr("CN = renewed"));
  EXPECT_EQ(channel->GetState(false), GRPC_CHANNEL_READY);
  say();
  while (answers() < 2 && absl::Now() < limit) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_EQ(answers(), 2u);
  // The roots, too: from now on only who the stranger signed, itself, gets in.
  ASSERT_TRUE(WriteFileAtomically(folder_.File("root.pem"), Pem("stranger.pem")).ok());
  const auto stranger = [&] {
    return Shell(absl::StrCat("curl -sSk --max-time 20 https://", http,
                              "/healthz --cert stranger.pem --key stranger.key"))
        .second;
  };
  while (stranger() != "ok\n" && absl::Now() < limit) {
  }
  EXPECT_EQ(stranger(), "ok\n");
  EXPECT_NE(Shell(absl::StrCat("curl -sSk --max-time 20 https://", http, "/healthz --cert client.pem --key client.key"))
                .first,
            0);
  pclose(client);
}

TEST_F(TlsNodeTest, GrpcListenerServesClientsWithoutCertificates) {
  Node::Options options = Options(/*mutual=*/false);
  options.tls_files.files.paths = {folder_.File("server.key"), folder_.File("server.pem")};
  options.tls_files.files.period = absl::Milliseconds(10);
  options.tls_files.read = [](const std::vector<std::string>& texts) -> absl::StatusOr<ServerTls> {
    return ServerTls{texts[0], texts[1], ""};
  };
  const auto node = Node::Start(std::move(options));
  ASSERT_TRUE(node.ok()) << node.status();
  EXPECT_TRUE(Ask(**node, "", ""));
  EXPECT_TRUE(Ask(**node, Pem("stranger.key"), Pem("stranger.pem")));
  EXPECT_THAT(Subject((*node)->grpc_address()), HasSubstr("CN = server"));

  Sign("next", "renewed");
  ASSERT_TRUE(WriteFileAtomically(folder_.File("server.pem"), Pem("next.pem")).ok());
  ASSERT_TRUE(WriteFileAtomically(folder_.File("server.key"), Pem("next.key")).ok());
  const absl::Time limit = absl::Now() + absl::Seconds(60);
  while (Subject((*node)->grpc_address()).find("renewed") == std::string::npos && absl::Now() < limit) {
  }
  EXPECT_THAT(Subject((*node)->grpc_address()), HasSubstr("CN = renewed"));
  EXPECT_TRUE(Ask(**node, "", ""));
}

TEST_F(TlsTest, KeysDoNotTurnTlsOrMutualTlsOnOrOff) {
  HttpServer::Options options;
  const auto plain = HttpServer::Start(options, Echo);
  options.tls = Tls(true);
  const auto mutual = HttpServer::Start(options, Echo);
  ASSERT_TRUE(plain.ok() && mutual.ok());
  EXPECT_EQ((*plain)->SetTls(Tls(false)).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ((*mutual)->SetTls(Tls(false)).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ((*mutual)->SetTls({}).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE((*mutual)->SetTls(Tls(true)).ok());
  tensorflow::serving::ModelService::CallbackService service;
  const auto grpc_server = GrpcServer::Start({.tls = Tls(true)}, {&service});
  ASSERT_TRUE(grpc_server.ok()) << grpc_server.status();
  EXPECT_EQ((*grpc_server)->SetTls(Tls(false)).code(), absl::StatusCode::kFailedPrecondition);
  ServerTls bad = Tls(true);
  bad.certificates = Pem("client.pem");
  EXPECT_EQ((*grpc_server)->SetTls(bad).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE((*grpc_server)->SetTls(Tls(true)).ok());
}

TEST_F(TlsNodeTest, GrpcListenerVerifiesClients) {
  Node::Options options = Options();
  const auto node = Node::Start(std::move(options));
  ASSERT_TRUE(node.ok()) << node.status();
  EXPECT_TRUE(Ask(**node, Pem("client.key"), Pem("client.pem")));
  EXPECT_FALSE(Ask(**node, "", ""));
  EXPECT_FALSE(Ask(**node, Pem("stranger.key"), Pem("stranger.pem")));
}

}  // namespace
}  // namespace portico
