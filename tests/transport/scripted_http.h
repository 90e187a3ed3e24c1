#pragma once

#include <sys/socket.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace portico {

/// An HTTP/1.1 server on loopback, plain or in TLS, that answers as the test says: a thread per connection.
class ScriptedHttp {
 public:
  using Request = boost::beast::http::request<boost::beast::http::string_body>;
  using Response = boost::beast::http::response<boost::beast::http::string_body>;
  /// Null: no answer; the server waits until the client has gone. On a thread of the connection's.
  using Handler = std::function<std::optional<Response>(const Request&)>;

  explicit ScriptedHttp(Handler handler, boost::asio::ssl::context* tls = nullptr, int port = 0)
      : handler_(std::move(handler)),
        tls_(tls),
        acceptor_(io_, {boost::asio::ip::address_v4::loopback(), static_cast<uint16_t>(port)}) {
    port_ = acceptor_.local_endpoint().port();
    acceptor_thread_ = std::thread([this] { Accept(); });
  }
  ~ScriptedHttp() { Stop(); }

  int port() const { return port_; }
  /// That were ever made.
  int connections() const { return connections_; }
  /// Clients that went before their answer.
  int gone() const { return gone_; }

  static Response Answer(int code, std::string body) {
    Response response;
    response.version(11);
    response.result(static_cast<unsigned>(code));
    response.body() = std::move(body);
    response.prepare_payload();
    return response;
  }

  /// Closes what clients hold open; new connections are taken.
  void CutClients() {
    MutexLock lock(&mutex_);
    for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
  }
  void Stop() {
    if (!acceptor_thread_.joinable()) return;
    stopping_ = true;
    ::shutdown(acceptor_.native_handle(), SHUT_RDWR);
    acceptor_thread_.join();
    acceptor_.close();
    CutClients();
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  using Tcp = boost::asio::ip::tcp;

  void Accept() {
    while (!stopping_) {
      Tcp::socket socket(io_);
      boost::system::error_code error;
      acceptor_.accept(socket, error);
      if (error) continue;
      ++connections_;
      threads_.emplace_back([this, socket = std::move(socket)]() mutable { Serve(std::move(socket)); });
    }
  }

  void Serve(Tcp::socket socket) {
    const int fd = socket.native_handle();
    {
      MutexLock lock(&mutex_);
      if (stopping_) return;
      open_.push_back(fd);
    }
    if (tls_ == nullptr) {
      Answer(socket, fd);
    } else {
      boost::asio::ssl::stream<Tcp::socket&> stream(socket, *tls_);
      boost::system::error_code error;
      stream.handshake(boost::asio::ssl::stream_base::server, error);
      if (!error) Answer(stream, fd);
    }
    MutexLock lock(&mutex_);
    for (int& one : open_) {
      if (one == fd) one = -1;
    }
  }

  template <typename Stream>
  void Answer(Stream& stream, int fd) {
    namespace http = boost::beast::http;
    boost::beast::flat_buffer buffer;
    boost::system::error_code error;
    for (bool more = true; more && !error;) {
      http::request_parser<http::string_body> parser;
      parser.body_limit(uint64_t{1} << 30);
      http::read(stream, buffer, parser, error);
      if (error) return;
      std::optional<Response> response = handler_(parser.get());
      if (!response.has_value()) {
        char byte;
        ::recv(fd, &byte, 1, MSG_PEEK);
        ++gone_;
        return;
      }
      more = response->keep_alive();
      http::write(stream, *response, error);
    }
  }

  const Handler handler_;
  boost::asio::ssl::context* const tls_;
  boost::asio::io_context io_;
  Tcp::acceptor acceptor_;
  int port_ = 0;
  std::atomic<int> connections_{0};
  std::atomic<int> gone_{0};
  std::atomic<bool> stopping_{false};
  Mutex mutex_;
  std::vector<int> open_ ABSL_GUARDED_BY(mutex_);
  /// Of the acceptor's thread, and of who has joined it.
  std::vector<std::thread> threads_;
  std::thread acceptor_thread_;
};

}  // namespace portico
