#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "node/frontend/content_coding.h"
#include "node/frontend/http_server.h"

namespace portico {

/// The bytes of a connection's answer, and how much of them has been sent. A reply becomes one contiguous piece here,
/// last thing before the socket. Not thread-safe: used by whoever answers.
class HttpAnswer {
 public:
  /// What an answer must be besides what its reply says.
  struct Form {
    /// To a HEAD request: the header alone.
    bool head = false;
    bool http10 = false;
    bool keep_alive = true;
    /// With what lets pages of other origins read it.
    bool cors = false;
  };

  void Make(const HttpReply& reply, const Form& form);
  /// Tells the client to send its body.
  void MakeContinue();

  absl::string_view unsent() const { return absl::string_view(bytes_).substr(sent_); }
  void Sent(size_t bytes) { sent_ += bytes; }
  /// Keeps a little memory for the next answer.
  void Clear();

 private:
  std::string bytes_;
  size_t sent_ = 0;
};

/// Packs the reply's body as the client accepts it, where that makes it smaller. REQUIRES: `coding` is not kIdentity.
void PackReply(ContentCoding coding, HttpReply* reply);

}  // namespace portico
