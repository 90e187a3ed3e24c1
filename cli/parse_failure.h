#pragma once

#include <string>

namespace CLI {
class App;
class Error;
}  // namespace CLI

namespace portico {

/// What is said where the command line cannot be read: CLI11's own words, but for a word that is no command, where the
/// commands there are are named, and the one that was probably meant.
std::string ParseFailure(const CLI::App* app, const CLI::Error& error);

}  // namespace portico
