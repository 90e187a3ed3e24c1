#include "node/frontend/http_connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/bind_handler.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/read.hpp>
#include <optional>
#include <type_traits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "node/frontend/content_coding.h"
#include "node/frontend/http_answer.h"
#include "node/frontend/http_loop.h"
#include "node/frontend/http_parser.h"

namespace portico {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::asio::ip::tcp;
using boost::system::error_code;
using TlsStream = asio::ssl::stream<tcp::socket>;
using SteadyTime = HttpLoop::SteadyTime;

/// One client: Read → OnRead → Handle → Reply → Write → OnWritten, then Read again. On the I/O thread, but for
/// Dispatch(), and for Reply() where an answer is made elsewhere: that thread sends it itself, which costs most of what
/// a request costs, and tells the I/O thread (OnAnswered). Held by its loop until it is closed, by what it waits for,
/// and by whoever owes an answer.
template <typename Stream>
class Connection final : public HttpLoop::Peer, public std::enable_shared_from_this<Connection<Stream>> {
 public:
  template <typename... Context>
  Connection(std::shared_ptr<HttpLoop> loop, tcp::socket socket, Context&... tls)
      : loop_(std::move(loop)), stream_(std::move(socket), tls...), parser_(loop_->options()) {}

  void Start() {
    error_code ignored;
    socket().set_option(tcp::no_delay(true), ignored);
    loop_->Add(Self());
    if constexpr (kTls) {
      Touch();
      stream_.async_handshake(asio::ssl::stream_base::server,
                              [self = Self()](error_code error) { error ? self->Close() : self->StartRequest(); });
    } else {
      StartRequest();
    }
  }

  bool idle() const override {
    return state_ == State::kHandshaking || state_ == State::kReading || state_ == State::kDiscarding;
  }
  bool Stuck(SteadyTime now) const override {
    if (state_ == State::kHandling) return false;
    const bool opening = state_ == State::kHandshaking || (state_ == State::kReading && begun_ && !header_done_);
    const HttpServer::Options& options = loop_->options();
    const absl::Duration limit =
        opening ? std::min(options.header_timeout, options.idle_timeout) : options.idle_timeout;
    return active_ < now - absl::ToChronoMilliseconds(limit);
  }

  void Close() override {
    {
      // Not while an answer is sent from elsewhere.
      MutexLock lock(&gone_mutex_);
      closed_ = true;
      error_code ignored;
      socket().close(ignored);
    }
    CountBody(0);
    loop_->Remove(Self());
  }

  /// From any thread, once per request: Reply → Pack → SendReply.
  void Reply(HttpReply reply) {
    const HttpServer::Options& options = loop_->options();
    if (options.min_packed_bytes == 0 || reply.body.size() < options.min_packed_bytes)
      return SendReply(std::move(reply));
    // Caches between here and the client must know that it depends.
    reply.headers.emplace_back("Vary", "Accept-Encoding");
    const ContentCoding coding = ChooseContentCoding(parser_.Header("accept-encoding"));
    if (coding == ContentCoding::kIdentity) return SendReply(std::move(reply));
    // Packs about 100 bytes in a microsecond: neither the I/O thread nor a worker should for long.
    if (reply.pack_here || reply.body.size() <= options.inline_body_bytes / 4 || options.executor == nullptr) {
      return Pack(coding, std::move(reply));
    }
    loop_->Offload(
        [self = Self(), coding, reply = std::move(reply)]() mutable { self->Pack(coding, std::move(reply)); });
  }

  void OnAnswered() override {
    state_ = State::kWriting;
    Touch();
    if (!answer_.unsent().empty()) return WriteSome();
    OnWritten({}, 0);
  }

 private:
  static constexpr bool kTls = !std::is_same_v<Stream, tcp::socket>;
  enum class State { kHandshaking, kReading, kHandling, kWriting, kDiscarding };

  std::shared_ptr<Connection> Self() { return this->shared_from_this(); }
  tcp::socket& socket() {
    if constexpr (kTls) {
      return stream_.next_layer();
    } else {
      return stream_;
    }
  }
  void Touch() { active_ = std::chrono::steady_clock::now(); }

  /// Tells the loop how many bytes of a body this connection holds.
  void CountBody(uint64_t bytes) { loop_->CountBodies(std::exchange(counted_bytes_, bytes), bytes); }

  void StartRequest() {
    state_ = State::kReading;
    Touch();
    continued_ = false;
    admitted_ = false;
    // What a client sent ahead has begun already.
    begun_ = buffer_.size() != 0;
    header_done_ = false;
    parser_.Begin();
    Read();
  }

  void Read() {
    beast::http::async_read_some(stream_, buffer_, parser_.parser(),
                                 beast::bind_front_handler(&Connection::OnRead, Self()));
  }

  void OnRead(error_code error, size_t) {
    if (error) {
      std::optional<HttpReply> reply = parser_.ReplyTo(error);
      return reply.has_value() ? Refuse(*std::move(reply)) : Close();
    }
    // A header must be whole within its time from the first byte on; a body only has to keep coming.
    header_done_ = parser_.header_done();
    if (header_done_ || !std::exchange(begun_, true)) Touch();
    CountBody(parser_.body_bytes());
    if (header_done_ && !std::exchange(admitted_, true)) {
      // Before the body: it is neither waited for nor asked for (100-continue) where nobody may send it.
      if (absl::Status status = Admit(); !status.ok()) return RefuseSender(status);
    }
    if (loop_->bodies_full()) {
      return Refuse(ErrorReply(503, absl::StrCat("server: got bodies of over ", loop_->options().max_total_body_bytes,
                                                 " bytes at once, want at most that; try again later")));
    }
    if (parser_.done()) return Handle();
    if (header_done_ && !continued_ && absl::EqualsIgnoreCase(parser_.Header("expect"), "100-continue")) {
      continued_ = true;
      answer_.MakeContinue();
      return WriteSome();
    }
    Read();
  }

  /// Asks who sends the request.
  absl::Status Admit() {
    request_.tenant = nullptr;
    parser_.FillTarget(&request_);
    const HttpServer::Admit& admit = loop_->options().admit;
    // A browser's question before the request is never one of a tenant.
    if (admit == nullptr || parser_.preflight()) return absl::OkStatus();
    ASSIGN_OR_RETURN(request_.tenant, admit(request_.path, parser_.Header("authorization")));
    return absl::OkStatus();
  }

  /// Answers a request that may not be here; the connection goes on where nothing of it is still to come.
  void RefuseSender(const absl::Status& status) {
    keep_alive_ = parser_.done() && parser_.keep_alive();
    CountBody(0);
    Write(ErrorReply(status));
  }

  /// Answers what is not worth a handler and closes.
  void Refuse(HttpReply reply) {
    keep_alive_ = false;
    CountBody(0);
    Write(std::move(reply));
  }

  void Handle() {
    keep_alive_ = parser_.keep_alive();
    if (!loop_->gate().Enter()) {
      return Refuse(ErrorReply(503, "server: shutting down; send the request to another replica"));
    }
    inside_ = true;
    state_ = State::kHandling;
    if (parser_.preflight()) return Reply(HttpReply());
    if (std::optional<HttpReply> refusal = parser_.CheckServed()) return Refuse(*std::move(refusal));
    const HttpServer::Options& options = loop_->options();
    const bool large = parser_.packed() || parser_.body_bytes() > options.inline_body_bytes;
    if (!large || options.executor == nullptr) return Dispatch();
    options.executor->Schedule([self = Self()] { self->Dispatch(); });
  }

  /// On the I/O thread or on the executor: nothing else touches the connection meanwhile.
  void Dispatch() {
    if (std::optional<HttpReply> failure = parser_.Unpack()) return Reply(*std::move(failure));
    parser_.Fill(&request_);
    request_.header = [this](absl::string_view name) { return parser_.Header(name); };
    request_.when_gone = [this](absl::AnyInvocable<void()> on_gone) { WhenGone(std::move(on_gone)); };
    loop_->handler()(request_, Responder(Self()));
    if (loop_->OnThread() && state_ == State::kHandling) loop_->WatchSoon();
  }

  /// By the handler: from the thread of Dispatch().
  void WhenGone(absl::AnyInvocable<void()> on_gone) {
    {
      MutexLock lock(&gone_mutex_);
      on_gone_ = std::move(on_gone);
    }
    if (!loop_->OnThread()) {
      loop_->Post([self = Self()] { self->Watch(); });
    }
  }

  /// Waits for more bytes or the end of the connection while the handler has the request.
  void Watch() override {
    if (state_ != State::kHandling || std::exchange(watching_, true)) return;
    socket().async_wait(tcp::socket::wait_read, [self = Self()](error_code) { self->OnWatched(); });
  }

  /// The next request may be what came; only the end of the connection is news. In TLS it comes as a record first.
  void OnWatched() {
    watching_ = false;
    if (state_ != State::kHandling) return;
    char byte = 0;
    error_code error;
    socket().non_blocking(true, error);
    if (!error) socket().receive(asio::buffer(&byte, 1), tcp::socket::message_peek, error);
    if (!error || error == asio::error::would_block) return;
    absl::AnyInvocable<void()> gone = TakeGone();
    if (gone) gone();
  }

  absl::AnyInvocable<void()> TakeGone() {
    MutexLock lock(&gone_mutex_);
    return std::exchange(on_gone_, nullptr);
  }

  /// Calls Reply() once: with 500 where nobody else does.
  class Responder {
   public:
    explicit Responder(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
    Responder(Responder&&) noexcept = default;
    Responder& operator=(Responder&&) = delete;
    ~Responder() {
      if (connection_ != nullptr) (*this)(ErrorReply(absl::InternalError("request: dropped without an answer")));
    }
    void operator()(HttpReply reply) {
      PORTICO_CHECK(connection_ != nullptr);
      std::exchange(connection_, nullptr)->Reply(std::move(reply));
    }

   private:
    std::shared_ptr<Connection> connection_;
  };

  void Pack(ContentCoding coding, HttpReply reply) {
    PackReply(coding, &reply);
    SendReply(std::move(reply));
  }

  void SendReply(HttpReply reply) {
    if (loop_->OnThread()) return Write(std::move(reply));
    if constexpr (kTls) {
      loop_->Post([self = Self(), reply = std::move(reply)]() mutable { self->Write(std::move(reply)); });
    } else {
      MakeAnswer(reply);
      SendHere();
      loop_->Answered(Self());
    }
  }

  void Write(HttpReply reply) {
    MakeAnswer(reply);
    state_ = State::kWriting;
    Touch();
    WriteSome();
  }

  /// What the socket takes at once; errors are left to the I/O thread, which meets them when it goes on.
  void SendHere() {
    MutexLock lock(&gone_mutex_);
    if (closed_) return;
    const absl::string_view bytes = answer_.unsent();
    const ssize_t sent = send(socket().native_handle(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) answer_.Sent(static_cast<size_t>(sent));
  }

  /// Nobody is told any more that the client goes. On any thread: nothing else touches the connection.
  void MakeAnswer(const HttpReply& reply) {
    TakeGone();
    keep_alive_ = keep_alive_ && !loop_->draining();
    answer_.Make(
        reply,
        {.head = parser_.head(), .http10 = parser_.http10(), .keep_alive = keep_alive_, .cors = loop_->options().cors});
  }

  void WriteSome() {
    const absl::string_view bytes = answer_.unsent();
    stream_.async_write_some(asio::buffer(bytes.data(), bytes.size()),
                             beast::bind_front_handler(&Connection::OnWritten, Self()));
  }

  void OnWritten(error_code error, size_t bytes) {
    Touch();
    answer_.Sent(bytes);
    if (!error && !answer_.unsent().empty()) return WriteSome();
    if (state_ == State::kReading) return error ? Close() : Read();  // It was the 100 Continue.
    if (std::exchange(inside_, false)) loop_->gate().Leave();
    if (error) return Close();
    answer_.Clear();
    CountBody(0);
    if (keep_alive_) return StartRequest();
    parser_.Clear();
    // Closing with unread input would reset the connection under a client that is still reading the answer.
    state_ = State::kDiscarding;
    if constexpr (kTls) {
      // Says that this was all, so that nobody can cut an answer short unseen.
      stream_.async_shutdown([self = Self()](error_code) { self->HangUp(); });
    } else {
      HangUp();
    }
  }

  void HangUp() {
    error_code ignored;
    socket().shutdown(tcp::socket::shutdown_send, ignored);
    Discard();
  }

  void Discard() {
    buffer_.clear();
    socket().async_read_some(buffer_.prepare(16 << 10), beast::bind_front_handler(&Connection::OnDiscarded, Self()));
  }

  /// Not an activity: a client that goes on sending is cut after the idle timeout.
  void OnDiscarded(error_code error, size_t) { error ? Close() : Discard(); }

  const std::shared_ptr<HttpLoop> loop_;
  Stream stream_;
  beast::flat_buffer buffer_;
  HttpParser parser_;
  HttpRequest request_;
  HttpAnswer answer_;
  State state_ = State::kHandshaking;
  SteadyTime active_;
  /// A byte of the request has come; its header is whole.
  bool begun_ = false;
  bool header_done_ = false;
  bool continued_ = false;
  /// It was asked who sends the request.
  bool admitted_ = false;
  bool keep_alive_ = true;
  /// Entered the gate.
  bool inside_ = false;
  uint64_t counted_bytes_ = 0;
  /// A wait of Watch() is under way; it may outlast its request.
  bool watching_ = false;
  /// Also held while the socket is closed, and while an answer is sent from another thread.
  Mutex gone_mutex_;
  bool closed_ ABSL_GUARDED_BY(gone_mutex_) = false;
  absl::AnyInvocable<void()> on_gone_ ABSL_GUARDED_BY(gone_mutex_);
};

}  // namespace

void StartHttpConnection(std::shared_ptr<HttpLoop> loop, tcp::socket socket, asio::ssl::context* tls) {
  if (tls == nullptr) {
    std::make_shared<Connection<tcp::socket>>(std::move(loop), std::move(socket))->Start();
  } else {
    std::make_shared<Connection<TlsStream>>(std::move(loop), std::move(socket), *tls)->Start();
  }
}

}  // namespace portico
