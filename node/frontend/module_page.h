#pragma once

#include <string>
#include <vector>

#include "node/frontend/example_call.h"
#include "node/frontend/module_catalog.h"

namespace portico {

/// Where a page's reader is: what links and example calls are made with.
struct PageReader {
  /// "http://127.0.0.1:8501".
  std::string base_url;
  /// Requests need a token.
  bool with_token = false;
};

/// "/hub/acme/encoder/1".
std::string ModulePath(const Handle& handle);

/// What /hub says of a mesh's modules, for programs and for people; both say the same.
std::string ModuleListJson(const std::string& mesh, const std::vector<ModuleView>& modules);
std::string ModuleListHtml(const std::string& mesh, const std::vector<ModuleView>& modules);

/// The same of one module: its documentation.
std::string ModuleJson(const ModuleView& module, const PageReader& reader);
std::string ModuleHtml(const ModuleView& module, const PageReader& reader);

}  // namespace portico
