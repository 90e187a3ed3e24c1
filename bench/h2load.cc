#include "bench/h2load.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace portico::bench {

ChildServer::ChildServer(const std::function<void(const Ready&)>& serve) {
  int address[2], end[2];
  PORTICO_CHECK(pipe(address) == 0 && pipe(end) == 0);
  pid_ = fork();
  PORTICO_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    close(end[1]);
    serve([&](const std::string& text) {
      PORTICO_CHECK(write(address[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()));
      close(address[1]);
      char byte;
      while (read(end[0], &byte, 1) > 0) {
      }
    });
    _exit(0);
  }
  close(address[1]);
  close(end[0]);
  end_ = end[1];
  char buffer[256];
  for (ssize_t n; (n = read(address[0], buffer, sizeof(buffer))) > 0;) address_.append(buffer, static_cast<size_t>(n));
  close(address[0]);
  PORTICO_CHECK(!address_.empty());
}

ChildServer::~ChildServer() {
  close(end_);
  waitpid(pid_, nullptr, 0);
}

double ChildServer::CpuSeconds() const {
  clockid_t clock;
  timespec used{};
  PORTICO_CHECK(clock_getcpuclockid(pid_, &clock) == 0 && clock_gettime(clock, &used) == 0);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

bool H2load::Found(const char* scenario) {
  if (std::system("h2load --version >/dev/null 2>&1") == 0) return true;
  std::printf("# %s: h2load is missing; run deploy/install.sh (Debian package nghttp2-client)\n", scenario);
  return false;
}

std::string H2load::GrpcBody(const std::string& message) {
  const auto size = static_cast<uint32_t>(message.size());
  std::string body(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) body.push_back(static_cast<char>(size >> shift & 0xff));
  return body + message;
}

double H2load::GrpcCallsPerSecond(const std::string& address, const std::string& path, const std::string& body) const {
  return CallsPerSecond(
      absl::StrCat("-m", in_flight / connections, " -H 'content-type: application/grpc' -H 'te: trailers'"), address,
      path, body);
}

double H2load::RestCallsPerSecond(const std::string& address, const std::string& path, const std::string& body,
                                  const std::vector<std::pair<std::string, std::string>>& headers) const {
  std::string options = "--h1 -m1 -H 'content-type: application/json'";
  for (const auto& [name, value] : headers) absl::StrAppend(&options, " -H '", name, ": ", value, "'");
  return CallsPerSecond(options, address, path, body);
}

double H2load::CallsPerSecond(const std::string& options, const std::string& address, const std::string& path,
                              const std::string& body) const {
  const std::string command = absl::StrCat("h2load -t1 -c", connections, " -D1 --warm-up-time=200ms -d '", body, "' ",
                                           options, " http://", address, path, " 2>/dev/null");
  FILE* const output = popen(command.c_str(), "r");
  PORTICO_CHECK(output != nullptr);
  double calls = 0;
  char line[512];
  while (std::fgets(line, sizeof(line), output) != nullptr) std::sscanf(line, "finished in %*[^,], %lf req/s", &calls);
  pclose(output);
  return calls;
}

}  // namespace portico::bench
