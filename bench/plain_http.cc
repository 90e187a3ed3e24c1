#include "bench/plain_http.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

namespace portico::bench {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::asio::ip::tcp;
using Response = http::response<http::string_body>;

/// One connection: reads a request, writes the constant, and again.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, const Response& response) : socket_(std::move(socket)), response_(response) {
    socket_.set_option(tcp::no_delay(true));
  }
  void Read() {
    request_ = {};
    http::async_read(socket_, buffer_, request_, [self = shared_from_this()](boost::system::error_code error, size_t) {
      if (!error) self->Write();
    });
  }

 private:
  void Write() {
    http::async_write(socket_, response_, [self = shared_from_this()](boost::system::error_code error, size_t) {
      if (!error) self->Read();
    });
  }

  tcp::socket socket_;
  boost::beast::flat_buffer buffer_;
  http::request<http::string_body> request_;
  Response response_;
};

void Accept(tcp::acceptor& acceptor, const Response& response) {
  acceptor.async_accept([&](boost::system::error_code error, tcp::socket socket) {
    if (error) return;
    std::make_shared<Connection>(std::move(socket), response)->Read();
    Accept(acceptor, response);
  });
}

}  // namespace

void ServePlainHttp(const std::string& content_type, const std::string& body, const ChildServer::Ready& ready) {
  Response response(http::status::ok, 11);
  response.set(http::field::content_type, content_type);
  response.body() = body;
  response.prepare_payload();
  asio::io_context io(1);
  tcp::acceptor acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  Accept(acceptor, response);
  std::thread thread([&io] { io.run(); });
  ready(absl::StrCat("127.0.0.1:", acceptor.local_endpoint().port()));
  io.stop();
  thread.join();
}

}  // namespace portico::bench
