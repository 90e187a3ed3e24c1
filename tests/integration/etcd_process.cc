#include "tests/integration/etcd_process.h"

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"

namespace portico {
namespace {

constexpr absl::Duration kPatience = absl::Minutes(5);

/// A member that waits long for a busy disk loses its leader, and tests would see that instead of what they make.
std::filesystem::path InMemory() {
  const std::filesystem::path memory = "/dev/shm";
  return access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path();
}

}  // namespace

EtcdProcess::EtcdProcess(std::string name)
    : folder_(InMemory()),
      name_(std::move(name)),
      endpoint_(absl::StrCat("127.0.0.1:", port_.number())),
      peers_(absl::StrCat("http://127.0.0.1:", peer_port_.number())),
      cluster_(absl::StrCat(name_, "=", peers_)) {}

EtcdProcess::EtcdProcess(bool tls) : EtcdProcess(std::string("default")) {
  if (tls) {
    identity_ = Identity::Make();
    folder_.Write("cert.pem", identity_->certificate);
    folder_.Write("key.pem", identity_->key);
  }
  Start();
}

std::vector<std::unique_ptr<EtcdProcess>> EtcdProcess::StartCluster(int members) {
  std::vector<std::unique_ptr<EtcdProcess>> all;
  std::string cluster;
  for (int i = 0; i < members; ++i) {
    all.push_back(std::unique_ptr<EtcdProcess>(new EtcdProcess(absl::StrCat("m", i))));
    absl::StrAppend(&cluster, i == 0 ? "" : ",", all.back()->cluster_);
  }
  for (const auto& member : all) {
    member->cluster_ = cluster;
    member->Launch();
  }
  for (const auto& member : all) member->AwaitAnswer();
  return all;
}

EtcdOptions EtcdProcess::options() const {
  EtcdOptions options;
  options.endpoints = {endpoint_};
  if (!identity_.has_value()) return options;
  options.roots = identity_->certificate;
  options.certificate = identity_->certificate;
  options.key = identity_->key;
  return options;
}

EtcdProcess::~EtcdProcess() { Kill(); }

void EtcdProcess::Kill() {
  if (process_ == nullptr) return;
  process_->Signal(SIGKILL);
  process_->Wait();
  process_ = nullptr;
}

void EtcdProcess::Start() {
  Launch();
  AwaitAnswer();
}

void EtcdProcess::Launch() {
  const std::string files = folder_.path();
  const std::string clients = (identity_.has_value() ? "https://" : "http://") + endpoint_;
  std::string tls;
  if (identity_.has_value()) {
    tls = absl::StrCat(" --cert-file ", files, "/cert.pem --key-file ", files,
                       "/key.pem --client-cert-auth --trusted-ca-file ", files, "/cert.pem");
  }
  auto process =
      Process::Start({"/bin/sh", "-c",
                      absl::StrCat("exec etcd --name ", name_, " --data-dir ", files, "/data --listen-client-urls ",
                                   clients, " --advertise-client-urls ", clients, " --listen-peer-urls ", peers_,
                                   " --initial-advertise-peer-urls ", peers_, " --initial-cluster ", cluster_, tls,
                                   " --heartbeat-interval 50 --election-timeout 500 >>", files, "/etcd.log 2>&1")});
  PORTICO_CHECK(process.ok());
  process_ = *std::move(process);
}

void EtcdProcess::AwaitAnswer() {
  const auto client = *EtcdClient::Create(options());
  for (const absl::Time end = absl::Now() + kPatience; absl::Now() < end; absl::SleepFor(absl::Milliseconds(20))) {
    if (client->List("/").ok()) return;
    if (process_->Ended().has_value()) break;
  }
  std::fprintf(stderr, "%s\n", folder_.Read("etcd.log").c_str());
  PORTICO_CHECK(false && "etcd did not start (package etcd-server; deploy/install.sh installs it)");
}

void EtcdProcess::Forget() { std::filesystem::remove_all(folder_.path() + "/data"); }

}  // namespace portico
