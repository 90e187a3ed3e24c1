#pragma once

namespace CLI {
class Option;
}

namespace portico {

/// Has the option take bytes as ParseByteSize() reads them, into an integer or several, and its help say so.
CLI::Option* TakeByteSize(CLI::Option* option);

}  // namespace portico
