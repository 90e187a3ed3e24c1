#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/digest.h"
#include "models/graph/portal_target.h"
#include "models/package/model.h"
#include "models/package/provenance.h"
#include "models/package/signature.h"

namespace portico {

/// What `portico inspect` shows of a package.
struct Inspection {
  struct Segment {
    std::string name;
    int64_t nodes = 0;
    std::vector<std::string> inputs;
    std::vector<std::string> outputs;
    uint64_t weight_bytes = 0;
    bool rows_joined = false;
    /// Where not joined.
    std::string reason;
  };
  struct Portal {
    std::string node;
    std::string op;
    /// One, but for experts.
    std::vector<PortalTarget> targets;
    std::string signature;
    std::vector<std::string> inputs;
    std::vector<TensorSpec> outputs;
  };
  /// A node TableLookup.
  struct Lookup {
    std::string node;
    std::string file;
    Digest content;
  };
  struct SignatureView {
    Signature signature;
    std::vector<Segment> segments;
    std::vector<Portal> portals;
    std::vector<Lookup> lookups;
  };

  std::string name;
  std::string path;
  /// 0: a file without one.
  int64_t version = 0;
  /// All of the folder, where one was given.
  std::vector<int64_t> versions;
  Digest digest;
  int64_t nodes = 0;
  uint64_t weight_bytes = 0;
  bool axes_declared = false;
  /// What the model says of where it comes from.
  Provenance provenance;
  std::vector<SignatureView> signatures;
};

/// Fills in everything from `nodes` on. Runs segments to learn axis kinds that are not declared.
absl::Status AddModel(const Model& model, const std::vector<Signature>& signatures, bool axes_declared,
                      Inspection& inspection);

/// For people.
std::string ToText(const Inspection& inspection);
/// For programs: one object, one line.
std::string ToJson(const Inspection& inspection);

}  // namespace portico
