#pragma once

#include <cstdint>
#include <string>

#include "base/digest.h"

namespace portico {

/// What a version folder looks like from outside, without reading its files.
struct FolderState {
  /// Of names, sizes, inodes and times of change of all files: differs when somebody has written in between. Empty
  /// where the folder is missing.
  Digest fingerprint;
  /// Of size, inode and time of change of model.onnx alone: LookAtModel().
  Digest model;
  /// Sum of the files' sizes, but for those of shards (*.shard): they are mapped, and the kernel takes back what is not
  /// read.
  uint64_t bytes = 0;
  bool operator==(const FolderState& other) const { return fingerprint == other.fingerprint; }
};

/// FolderState::model, without a look at other files. Empty where there is no model.onnx.
Digest LookAtModel(const std::string& folder);

/// Looks at the files in and below `folder`, at most 10,000 of them.
FolderState LookAtFolder(const std::string& folder);

}  // namespace portico
