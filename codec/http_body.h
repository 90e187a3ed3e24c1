#pragma once

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/optional.hpp>
#include <boost/system/error_code.hpp>
#include <cstdint>
#include <string>

#include "codec/json_padding.h"

/// For .cc files and headers about Beast only.

namespace portico {

/// A body in one string with kJsonPadding bytes behind it, as Beast's parser fills it. Memory grows with
/// what arrives, not with what Content-Length claims.
struct PaddedBody {
  using value_type = std::string;
  class reader {
   public:
    template <bool kRequest, class Fields>
    reader(boost::beast::http::header<kRequest, Fields>&, value_type& body) : body_(body) {}
    void init(const boost::optional<uint64_t>& length, boost::system::error_code& error) {
      error = {};
      if (length) body_.reserve(std::min<uint64_t>(*length, 1 << 20) + kJsonPadding);
    }
    template <class Buffers>
    size_t put(const Buffers& buffers, boost::system::error_code& error) {
      error = {};
      const size_t before = body_.size();
      for (auto it = boost::asio::buffer_sequence_begin(buffers); it != boost::asio::buffer_sequence_end(buffers);
           ++it) {
        const boost::asio::const_buffer piece = *it;
        body_.append(static_cast<const char*>(piece.data()), piece.size());
      }
      return body_.size() - before;
    }
    void finish(boost::system::error_code& error) {
      error = {};
      body_.append(kJsonPadding, '\0');
    }

   private:
    value_type& body_;
  };
};

}  // namespace portico
