#include "embedding/id_hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace portico {

uint64_t HashId(absl::string_view id, uint64_t seed) { return XXH3_64bits_withSeed(id.data(), id.size(), seed); }

}  // namespace portico
