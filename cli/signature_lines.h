#pragma once

#include <string>

#include "models/package/signature.h"

namespace portico {

/// A line for each tensor: "  in   image float32[N,784]", "  out  digit int64[N]".
std::string SignatureLines(const Signature& signature);

}  // namespace portico
