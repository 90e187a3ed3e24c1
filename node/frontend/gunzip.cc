#include "node/frontend/gunzip.h"

#include <zlib.h>

#include <algorithm>
#include <limits>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"

namespace portico {

absl::StatusOr<std::string> Gunzip(absl::string_view packed, uint64_t max_bytes) {
  z_stream stream{};
  // 15 window bits; +32: gzip or zlib, as the data says.
  if (inflateInit2(&stream, 15 + 32) != Z_OK) return absl::ResourceExhaustedError("gzip body: no memory to unpack it");
  const absl::Cleanup end = [&] { inflateEnd(&stream); };
  if (packed.size() > std::numeric_limits<uInt>::max()) {
    return absl::ResourceExhaustedError(absl::StrCat("gzip body: got ", packed.size(), " bytes, want under 4 GiB"));
  }
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string out;
  int result = Z_OK;
  while (result == Z_OK) {
    // Grows with what came out, one byte past the limit at most: a bomb is found before it goes off.
    const uint64_t room = std::clamp<uint64_t>(2 * out.size(), 16 << 10, 64 << 20);
    const size_t before = out.size();
    out.resize(std::min<uint64_t>(before + room, max_bytes + 1));
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + before);
    stream.avail_out = static_cast<uInt>(out.size() - before);
    result = inflate(&stream, Z_NO_FLUSH);
    out.resize(out.size() - stream.avail_out);
    if (out.size() > max_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat("gzip body: unpacks to over ", max_bytes, " bytes, want at most that"));
    }
  }
  if (result != Z_STREAM_END || stream.avail_in != 0) {
    return absl::InvalidArgumentError(absl::StrCat("gzip body: ", stream.msg != nullptr    ? stream.msg
                                                                  : result == Z_STREAM_END ? "more bytes behind its end"
                                                                                           : "cut short"));
  }
  return out;
}

}  // namespace portico
