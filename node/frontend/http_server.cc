#include "node/frontend/http_server.h"

#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/bind_handler.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <chrono>
#include <optional>
#include <thread>
#include <type_traits>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/gate.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "base/turn.h"
#include "node/frontend/content_coding.h"
#include "node/frontend/gunzip.h"
#include "node/frontend/http_tls.h"
#include "node/json_text.h"

namespace portico {
namespace {

/// What a browser asks before it lets a page of another origin send a request and read the answer.
constexpr absl::string_view kCorsHeaders =
    "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: POST, GET\r\n"
    "Access-Control-Allow-Headers: Content-Type, Content-Encoding, Authorization, traceparent, tracestate\r\n";

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::asio::ip::tcp;
using boost::system::error_code;
using TlsStream = asio::ssl::stream<tcp::socket>;
using SteadyTime = std::chrono::steady_clock::time_point;

absl::string_view View(beast::string_view text) { return {text.data(), text.size()}; }

/// A body in one string with HttpRequest::kBodyPadding bytes behind it. Memory grows with what arrives, not with what
/// Content-Length claims.
struct PaddedBody {
  using value_type = std::string;
  class reader {
   public:
    template <bool kRequest, class Fields>
    reader(http::header<kRequest, Fields>&, value_type& body) : body_(body) {}
    void init(const boost::optional<uint64_t>& length, error_code& error) {
      error = {};
      if (length) body_.reserve(std::min<uint64_t>(*length, 1 << 20) + HttpRequest::kBodyPadding);
    }
    template <class Buffers>
    size_t put(const Buffers& buffers, error_code& error) {
      error = {};
      const size_t before = body_.size();
      for (auto it = asio::buffer_sequence_begin(buffers); it != asio::buffer_sequence_end(buffers); ++it) {
        const asio::const_buffer piece = *it;
        body_.append(static_cast<const char*>(piece.data()), piece.size());
      }
      return body_.size() - before;
    }
    void finish(error_code& error) {
      error = {};
      body_.append(HttpRequest::kBodyPadding, '\0');
    }

   private:
    value_type& body_;
  };
};

/// A connection as the server holds it, whatever it runs over. On the I/O thread.
class Peer {
 public:
  virtual ~Peer() = default;
  /// Nothing of a request has come, or none of it will be answered.
  virtual bool idle() const = 0;
  /// Waits for its client for longer than it may; never true while the handler has the request.
  virtual bool Stuck(SteadyTime now) const = 0;
  virtual void Close() = 0;
  /// Another thread has made the answer and sent what the socket took of it.
  virtual void OnAnswered() = 0;
  /// Sees from now on whether the client goes, where its request is with the handler.
  virtual void Watch() = 0;
};

/// How long a request is with its handler before anybody looks whether its client is still there: a look costs a system
/// call, and most are answered sooner.
constexpr std::chrono::milliseconds kWatchAfter{10};

/// What connections share. Kept alive by them: a Respond may be called long after the server has gone. All fields but
/// those of Post() belong to the I/O thread once it runs.
struct Core {
  Core(HttpServer::Options opts, HttpServer::Handler on_request)
      : options(std::move(opts)), handler(std::move(on_request)), acceptor(io), timer(io), watch_timer(io) {}

  /// Runs `task` on the I/O thread; drops it when the server has stopped.
  template <typename Task>
  void Post(Task task) {
    MutexLock lock(&mutex);
    if (!stopped) asio::post(io, std::move(task));
  }
  /// Runs `task` on the executor, which may be gone once the server has stopped: then drops it.
  template <typename Task>
  void Offload(Task task) {
    MutexLock lock(&mutex);
    if (!stopped) options.executor->Schedule(std::move(task));
  }

  /// Calls OnAnswered() on the I/O thread, which is woken once for all that come until it looks.
  void Answered(std::shared_ptr<Peer> peer) {
    MutexLock lock(&mutex);
    if (stopped) return;
    answered.push_back(std::move(peer));
    if (answered.size() == 1) asio::post(io, [this] { TakeAnswered(); });
  }

  /// Watches all that are with the handler then.
  void WatchSoon() {
    if (std::exchange(watch_pending, true)) return;
    watch_timer.expires_after(kWatchAfter);
    watch_timer.async_wait([this](error_code error) {
      watch_pending = false;
      if (error) return;
      for (const std::shared_ptr<Peer>& peer : connections) peer->Watch();
    });
  }

  void TakeAnswered() {
    {
      MutexLock lock(&mutex);
      taken.swap(answered);
    }
    for (const std::shared_ptr<Peer>& peer : taken) peer->OnAnswered();
    taken.clear();
  }

  const HttpServer::Options options;
  const HttpServer::Handler handler;
  asio::io_context io{1};
  tcp::acceptor acceptor;
  asio::steady_timer timer;
  asio::steady_timer watch_timer;
  bool watch_pending = false;
  absl::flat_hash_set<std::shared_ptr<Peer>> connections;
  /// Null: plain.
  std::unique_ptr<asio::ssl::context> tls;
  /// Requests in hand.
  Gate gate;
  /// Bytes of bodies that connections hold.
  uint64_t body_bytes = 0;
  std::atomic<bool> draining{false};
  bool accept_paused = false;
  std::thread::id io_thread;
  Mutex mutex;
  bool stopped ABSL_GUARDED_BY(mutex) = false;
  std::vector<std::shared_ptr<Peer>> answered ABSL_GUARDED_BY(mutex);
  /// Empty but in TakeAnswered(): kept for its memory.
  std::vector<std::shared_ptr<Peer>> taken;
};

/// One client: Read → OnRead → Handle → Reply → Write → OnWritten, then Read again. On the I/O thread, but for
/// Dispatch(), and for Reply() where an answer is made elsewhere: that thread sends it itself, which costs most of what
/// a request costs, and tells the I/O thread (OnAnswered).
template <typename Stream>
class Connection final : public Peer, public std::enable_shared_from_this<Connection<Stream>> {
 public:
  template <typename... Context>
  Connection(std::shared_ptr<Core> core, tcp::socket socket, Context&... tls)
      : core_(std::move(core)), stream_(std::move(socket), tls...) {}

  void Start() {
    error_code ignored;
    socket().set_option(tcp::no_delay(true), ignored);
    core_->connections.insert(Self());
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
    const HttpServer::Options& options = core_->options;
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
    core_->connections.erase(Self());
  }

  /// From any thread, once per request: Reply → PackReply → SendReply.
  void Reply(HttpReply reply) {
    const HttpServer::Options& options = core_->options;
    if (options.min_packed_bytes == 0 || reply.body.size() < options.min_packed_bytes)
      return SendReply(std::move(reply));
    // Caches between here and the client must know that it depends.
    reply.headers.emplace_back("Vary", "Accept-Encoding");
    const ContentCoding coding = ChooseContentCoding(Header("accept-encoding"));
    if (coding == ContentCoding::kIdentity) return SendReply(std::move(reply));
    // Packs about 100 bytes in a microsecond: neither the I/O thread nor a worker should for long.
    if (reply.body.size() <= options.inline_body_bytes / 4 || options.executor == nullptr) {
      return PackReply(coding, std::move(reply));
    }
    core_->Offload(
        [self = Self(), coding, reply = std::move(reply)]() mutable { self->PackReply(coding, std::move(reply)); });
  }

  void PackReply(ContentCoding coding, HttpReply reply) {
    std::string packed = Pack(coding, reply.body);
    if (!packed.empty()) {
      reply.body = std::move(packed);
      reply.headers.emplace_back("Content-Encoding", std::string(ContentCodingName(coding)));
    }
    SendReply(std::move(reply));
  }

  void SendReply(HttpReply reply) {
    if (std::this_thread::get_id() == core_->io_thread) return Write(std::move(reply));
    if constexpr (kTls) {
      core_->Post([self = Self(), reply = std::move(reply)]() mutable { self->Write(std::move(reply)); });
    } else {
      MakeAnswer(reply);
      SendHere();
      core_->Answered(Self());
    }
  }

  void OnAnswered() override {
    state_ = State::kWriting;
    Touch();
    if (sent_ < out_.size()) return WriteSome();
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

  /// Tells the core how many bytes of a body this connection holds.
  void CountBody(uint64_t bytes) {
    core_->body_bytes += bytes - counted_bytes_;
    counted_bytes_ = bytes;
  }

  void StartRequest() {
    state_ = State::kReading;
    Touch();
    continued_ = false;
    admitted_ = false;
    // What a client sent ahead has begun already.
    begun_ = buffer_.size() != 0;
    header_done_ = false;
    parser_.emplace();
    parser_->header_limit(core_->options.max_header_bytes);
    parser_->body_limit(core_->options.max_body_bytes);
    parser_->eager(true);
    Read();
  }

  void Read() {
    http::async_read_some(stream_, buffer_, *parser_, beast::bind_front_handler(&Connection::OnRead, Self()));
  }

  void OnRead(error_code error, size_t) {
    if (error) return OnReadError(error);
    // A header must be whole within its time from the first byte on; a body only has to keep coming.
    header_done_ = parser_->is_header_done();
    if (header_done_ || !std::exchange(begun_, true)) Touch();
    CountBody(parser_->get().body().size());
    if (header_done_ && !std::exchange(admitted_, true)) {
      // Before the body: it is neither waited for nor asked for (100-continue) where nobody may send it.
      if (absl::Status status = Admit(); !status.ok()) return Refuse(status);
    }
    if (core_->body_bytes > core_->options.max_total_body_bytes) {
      return Refuse(503, absl::StrCat("server: got bodies of over ", core_->options.max_total_body_bytes,
                                      " bytes at once, want at most that; try again later"));
    }
    if (parser_->is_done()) return Handle();
    if (parser_->is_header_done() && !continued_ && absl::EqualsIgnoreCase(Header("expect"), "100-continue")) {
      continued_ = true;
      out_ = "HTTP/1.1 100 Continue\r\n\r\n";
      sent_ = 0;
      return WriteSome();
    }
    Read();
  }

  void OnReadError(error_code error) {
    if (error == http::error::body_limit) {
      return Refuse(413, absl::StrCat("body: got over ", core_->options.max_body_bytes, " bytes, want at most that"));
    }
    if (error == http::error::header_limit) {
      return Refuse(431,
                    absl::StrCat("header: got over ", core_->options.max_header_bytes, " bytes, want at most that"));
    }
    // What is left of HTTP's errors is a malformed request; but a connection that ends is no error.
    if (error.category() == make_error_code(http::error::bad_method).category() &&
        error != http::error::end_of_stream && error != http::error::partial_message) {
      return Refuse(400, absl::StrCat("request: not HTTP/1.1: ", error.message()));
    }
    Close();
  }

  /// Asks who sends the request.
  absl::Status Admit() {
    request_.tenant = nullptr;
    const auto& message = parser_->get();
    SetTarget();
    // A browser's question before the request is never one of a tenant.
    const bool preflight = core_->options.cors && message.method() == http::verb::options;
    if (core_->options.admit == nullptr || preflight) return absl::OkStatus();
    ASSIGN_OR_RETURN(request_.tenant, core_->options.admit(request_.path, Header("authorization")));
    return absl::OkStatus();
  }

  void SetTarget() {
    const absl::string_view target = View(parser_->get().target());
    const size_t question = target.find('?');
    request_.path = target.substr(0, question);
    request_.query = question == target.npos ? absl::string_view() : target.substr(question + 1);
  }

  /// Answers a request that may not be here; the connection goes on where nothing of it is still to come.
  void Refuse(const absl::Status& status) {
    keep_alive_ = parser_->is_done() && parser_->get().keep_alive();
    CountBody(0);
    Write(ErrorReply(status));
  }

  /// Answers what is not worth a handler and closes.
  void Refuse(int code, absl::string_view message) {
    keep_alive_ = false;
    CountBody(0);
    HttpReply reply;
    reply.code = code;
    reply.body = ErrorJson(message);
    Write(std::move(reply));
  }

  void Handle() {
    const auto& message = parser_->get();
    keep_alive_ = message.keep_alive();
    if (!core_->gate.Enter()) return Refuse(503, "server: shutting down; send the request to another replica");
    inside_ = true;
    state_ = State::kHandling;
    if (message.method() == http::verb::options && core_->options.cors) return Reply(HttpReply());
    if (message.method() != http::verb::get && message.method() != http::verb::head &&
        message.method() != http::verb::post) {
      return Refuse(405, absl::StrCat("method: got ", View(message.method_string()), ", want GET, HEAD or POST"));
    }
    const std::string& body = message.body();
    const absl::string_view encoding = Header("content-encoding");
    gzip_ = absl::EqualsIgnoreCase(encoding, "gzip") || absl::EqualsIgnoreCase(encoding, "x-gzip") ||
            absl::EqualsIgnoreCase(encoding, "deflate");
    if (!gzip_ && !encoding.empty() && !absl::EqualsIgnoreCase(encoding, "identity")) {
      return Refuse(415, absl::StrCat("content-encoding: got '", encoding, "', want gzip, deflate or none"));
    }
    const bool large = gzip_ || body.size() > core_->options.inline_body_bytes;
    if (!large || core_->options.executor == nullptr) return Dispatch();
    core_->options.executor->Schedule([self = Self()] { self->Dispatch(); });
  }

  /// On the I/O thread or on the executor: nothing else touches the connection meanwhile.
  void Dispatch() {
    auto& message = parser_->get();
    std::string& body = message.body();
    if (gzip_) {
      absl::StatusOr<std::string> plain =
          Gunzip({body.data(), body.size() - HttpRequest::kBodyPadding}, core_->options.max_body_bytes);
      if (!plain.ok()) {
        HttpReply reply = ErrorReply(plain.status());
        if (absl::IsResourceExhausted(plain.status())) reply.code = 413;
        return Reply(std::move(reply));
      }
      body = *std::move(plain);
      body.append(HttpRequest::kBodyPadding, '\0');
    }
    SetTarget();
    request_.method = View(message.method_string());
    request_.body = {body.data(), body.size() - HttpRequest::kBodyPadding};
    request_.header = [this](absl::string_view name) { return Header(name); };
    request_.when_gone = [this](absl::AnyInvocable<void()> on_gone) { WhenGone(std::move(on_gone)); };
    core_->handler(request_, Responder(Self()));
    if (std::this_thread::get_id() == core_->io_thread && state_ == State::kHandling) core_->WatchSoon();
  }

  /// By the handler: from the thread of Dispatch().
  void WhenGone(absl::AnyInvocable<void()> on_gone) {
    {
      MutexLock lock(&gone_mutex_);
      on_gone_ = std::move(on_gone);
    }
    if (std::this_thread::get_id() != core_->io_thread) {
      core_->Post([self = Self()] { self->Watch(); });
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

  absl::string_view Header(absl::string_view name) const {
    const auto& fields = parser_->get();
    const auto it = fields.find(beast::string_view(name.data(), name.size()));
    return it == fields.end() ? absl::string_view() : View(it->value());
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
    const ssize_t sent = send(socket().native_handle(), out_.data(), out_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) sent_ = static_cast<size_t>(sent);
  }

  /// Fills out_; nobody is told any more that the client goes. On any thread: nothing else touches the connection.
  void MakeAnswer(const HttpReply& reply) {
    TakeGone();
    keep_alive_ = keep_alive_ && !core_->draining;
    const bool head = parser_->is_header_done() && parser_->get().method() == http::verb::head;
    const beast::string_view reason = http::obsolete_reason(http::int_to_status(static_cast<unsigned>(reply.code)));
    out_.clear();
    out_.reserve(256 + (head ? 0 : reply.body.size()));
    absl::StrAppend(&out_, "HTTP/1.1 ", reply.code, " ", View(reason), "\r\nContent-Type: ", reply.content_type,
                    "\r\nContent-Length: ", reply.body.size(), "\r\n");
    if (!keep_alive_)
      out_ += "Connection: close\r\n";
    else if (parser_->get().version() < 11)
      out_ += "Connection: keep-alive\r\n";
    if (core_->options.cors) out_.append(kCorsHeaders.data(), kCorsHeaders.size());
    for (const auto& [name, value] : reply.headers) absl::StrAppend(&out_, name, ": ", value, "\r\n");
    out_ += "\r\n";
    if (!head) out_ += reply.body;
    sent_ = 0;
  }

  void WriteSome() {
    stream_.async_write_some(asio::buffer(out_.data() + sent_, out_.size() - sent_),
                             beast::bind_front_handler(&Connection::OnWritten, Self()));
  }

  void OnWritten(error_code error, size_t bytes) {
    Touch();
    sent_ += bytes;
    if (!error && sent_ < out_.size()) return WriteSome();
    if (state_ == State::kReading) return error ? Close() : Read();  // It was the 100 Continue.
    if (std::exchange(inside_, false)) core_->gate.Leave();
    if (error) return Close();
    // A large body's memory is not kept for the next request.
    if (out_.capacity() > (64 << 10)) out_ = {};
    CountBody(0);
    if (keep_alive_) return StartRequest();
    parser_.reset();
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

  const std::shared_ptr<Core> core_;
  Stream stream_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<PaddedBody>> parser_;
  HttpRequest request_;
  State state_ = State::kHandshaking;
  SteadyTime active_;
  /// A byte of the request has come; its header is whole.
  bool begun_ = false;
  bool header_done_ = false;
  bool continued_ = false;
  /// It was asked who sends the request.
  bool admitted_ = false;
  bool gzip_ = false;
  bool keep_alive_ = true;
  /// Entered the gate.
  bool inside_ = false;
  uint64_t counted_bytes_ = 0;
  std::string out_;
  size_t sent_ = 0;
  /// A wait of Watch() is under way; it may outlast its request.
  bool watching_ = false;
  /// Also held while the socket is closed, and while an answer is sent from another thread.
  Mutex gone_mutex_;
  bool closed_ ABSL_GUARDED_BY(gone_mutex_) = false;
  absl::AnyInvocable<void()> on_gone_ ABSL_GUARDED_BY(gone_mutex_);
};

class BeastServer final : public HttpServer {
 public:
  BeastServer(Options options, Handler handler)
      : core_(std::make_shared<Core>(std::move(options), std::move(handler))), work_(core_->io.get_executor()) {}
  ~BeastServer() override { Stop(absl::ZeroDuration()); }

  absl::Status Listen() {
    if (core_->options.tls.enabled()) {
      ASSIGN_OR_RETURN(core_->tls, NewTlsContext(core_->options.tls));
    }
    const std::string& wanted = core_->options.address;
    const size_t colon = wanted.rfind(':');
    int port = 0;
    if (colon == std::string::npos || !absl::SimpleAtoi(wanted.substr(colon + 1), &port) || port < 0 || port > 65535) {
      return absl::InvalidArgumentError(absl::StrCat("HTTP address '", wanted, "': want HOST:PORT"));
    }
    std::string host = wanted.substr(0, colon);
    if (host.size() > 1 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    error_code error;
    tcp::resolver resolver(core_->io);
    const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, error);
    if (error || found.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("HTTP address '", wanted, "': ", error.message()));
    }
    const tcp::endpoint endpoint = *found.begin();
    tcp::acceptor& acceptor = core_->acceptor;
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) {
      return absl::UnavailableError(
          absl::StrCat("HTTP address '", wanted, "': ", error.message(), "; choose a free port of this machine"));
    }
    address_ = absl::StrCat(wanted.substr(0, colon), ":", acceptor.local_endpoint().port());
    return absl::OkStatus();
  }

  void Run() {
    thread_ = std::thread([this] {
      core_->io_thread = std::this_thread::get_id();
      Accept();
      Sweep();
      Turn turn([this, &turn] { asio::post(core_->io, [&turn] { turn.Finish(); }); });
      core_->io.run();
    });
  }

  const std::string& address() const override { return address_; }

  absl::Status SetTls(const ServerTls& tls) override {
    const ServerTls& first = core_->options.tls;
    if (!first.enabled() || tls.mutual() != first.mutual()) {
      return absl::FailedPreconditionError(
          "HTTP TLS: got keys that turn TLS or the check of clients' certificates on or off, want that as at the "
          "start; "
          "start the node again");
    }
    ASSIGN_OR_RETURN(std::unique_ptr<asio::ssl::context> context, NewTlsContext(tls));
    // Connections hold on to what they were made of.
    core_->Post([core = core_, context = std::move(context)]() mutable { core->tls = std::move(context); });
    return absl::OkStatus();
  }

  void Stop(absl::Duration timeout) override {
    if (!thread_.joinable()) return;
    core_->gate.Close();
    asio::post(core_->io, [this] {
      error_code ignored;
      core_->acceptor.close(ignored);
      core_->draining = true;
      CloseWhere([](const Peer& peer) { return peer.idle(); });
    });
    core_->gate.Drain(timeout);
    asio::post(core_->io, [this] {
      core_->timer.cancel();
      core_->watch_timer.cancel();
      CloseWhere([](const Peer&) { return true; });
    });
    // With every socket closed and no work promised, the thread runs out of things to do.
    work_.reset();
    thread_.join();
    {
      MutexLock lock(&core_->mutex);
      core_->stopped = true;
    }
    core_->io.restart();
    core_->io.poll();  // Replies that came in between: their writes fail at once.
  }

 private:
  void Accept() {
    core_->acceptor.async_accept([this](error_code error, tcp::socket socket) {
      if (error == asio::error::operation_aborted || !core_->acceptor.is_open()) return;
      if (error) {
        // Out of file descriptors, most likely: the next sweep tries again.
        core_->accept_paused = true;
        return;
      }
      if (core_->connections.size() < core_->options.max_connections) {
        if (core_->tls == nullptr) {
          std::make_shared<Connection<tcp::socket>>(core_, std::move(socket))->Start();
        } else {
          std::make_shared<Connection<TlsStream>>(core_, std::move(socket), *core_->tls)->Start();
        }
      }
      Accept();
    });
  }

  /// Closes connections whose clients have gone silent. A timer per connection would cost each request two operations.
  void Sweep() {
    const absl::Duration shortest = std::min(core_->options.idle_timeout, core_->options.header_timeout);
    const SteadyTime now = std::chrono::steady_clock::now();
    CloseWhere([now](const Peer& peer) { return peer.Stuck(now); });
    if (std::exchange(core_->accept_paused, false)) Accept();
    core_->timer.expires_after(
        absl::ToChronoMilliseconds(std::clamp(shortest / 4, absl::Milliseconds(10), absl::Seconds(5))));
    core_->timer.async_wait([this](error_code error) {
      if (!error && !core_->draining) Sweep();
    });
  }

  template <typename Condition>
  void CloseWhere(Condition condition) {
    std::vector<std::shared_ptr<Peer>> chosen;
    for (const auto& connection : core_->connections) {
      if (condition(*connection)) chosen.push_back(connection);
    }
    for (const auto& connection : chosen) connection->Close();
  }

  const std::shared_ptr<Core> core_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::string address_;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(Options options, Handler handler) {
  auto server = std::make_unique<BeastServer>(std::move(options), std::move(handler));
  RETURN_IF_ERROR(server->Listen());
  server->Run();
  return server;
}

}  // namespace portico
