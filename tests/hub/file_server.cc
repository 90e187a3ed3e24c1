#include "tests/hub/file_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace portico {
namespace {

constexpr size_t kBreakableBytes = 16 << 10;

void SendAll(int fd, const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const ssize_t sent = send(fd, text.data() + at, text.size() - at, MSG_NOSIGNAL);
    if (sent <= 0) return;
    at += static_cast<size_t>(sent);
  }
}

}  // namespace

FileServer::FileServer(std::string root) : root_(std::move(root)) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  PORTICO_CHECK(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  PORTICO_CHECK(listen(listener_, 16) == 0);
  socklen_t bytes = sizeof(address);
  PORTICO_CHECK(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &bytes) == 0);
  url_ = absl::StrCat("http://127.0.0.1:", ntohs(address.sin_port));
  thread_ = std::thread([this] { Run(); });
}

FileServer::~FileServer() {
  shutdown(listener_, SHUT_RDWR);
  thread_.join();
  close(listener_);
}

std::vector<FileServer::Request> FileServer::requests() const {
  MutexLock lock(&mutex_);
  return requests_;
}

void FileServer::Run() {
  while (true) {
    const int fd = accept(listener_, nullptr, nullptr);
    if (fd < 0) return;
    Serve(fd);
    close(fd);
  }
}

void FileServer::Serve(int fd) {
  std::string text;
  char piece[4096];
  while (!absl::StrContains(text, "\r\n\r\n")) {
    const ssize_t got = recv(fd, piece, sizeof(piece), 0);
    if (got <= 0) return;
    text.append(piece, static_cast<size_t>(got));
  }
  std::istringstream lines(text);
  std::string method;
  Request request;
  lines >> method >> request.target;
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line) && line != "\r") {
    const size_t colon = line.find(':');
    request.headers[absl::AsciiStrToLower(line.substr(0, colon))] =
        std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
  }
  {
    MutexLock lock(&mutex_);
    requests_.push_back(request);
  }
  const Handler::Function answer = handler.Get();
  Reply reply = failures.load() > 0 ? Reply{503, "busy", {}} : answer ? answer(request) : Answer(request);
  if (failures.load() > 0) --failures;
  if (const auto range = request.headers.find("range");
      ranges.load() && reply.code == 200 && range != request.headers.end()) {
    uint64_t from = 0;
    PORTICO_CHECK(absl::SimpleAtoi(range->second.substr(6, range->second.size() - 7), &from));
    const size_t size = reply.body.size();
    if (from >= size) {
      reply = {416, "", {}};
    } else {
      reply = {
          206, reply.body.substr(from), {{"Content-Range", absl::StrCat("bytes ", from, "-", size - 1, "/", size)}}};
    }
  }
  std::string head = absl::StrCat("HTTP/1.1 ", reply.code, " x\r\n");
  if (!reply.headers.contains("Transfer-Encoding"))
    absl::StrAppend(&head, "Content-Length: ", reply.body.size(), "\r\n");
  for (const auto& [name, value] : reply.headers) absl::StrAppend(&head, name, ": ", value, "\r\n");
  if (reply.body.size() > kBreakableBytes && breaks.load() > 0) {
    --breaks;
    reply.body.resize(reply.body.size() / 2);
  }
  sent += reply.body.size();
  SendAll(fd, absl::StrCat(head, "\r\n", reply.body));
}

FileServer::Reply FileServer::Answer(const Request& request) const {
  const std::string path = root_ + request.target;
  if (!std::filesystem::is_regular_file(path)) return {404, "no such file", {}};
  std::ifstream in(path, std::ios::binary);
  std::string body{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  return {200, std::move(body), {}};
}

}  // namespace portico
