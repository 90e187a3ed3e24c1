#!/usr/bin/env bash
# clang -fsyntax-only -Wthread-safety -Werror over every source that holds a mutex or is annotated. GCC ignores the annotations, so this
# is what checks them.   usage: thread_safety.sh BUILD_FOLDER
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$1
root=$(deploy/install.sh --print-onnxruntime-root)
# A source is concerned when it or its own header names a guarded thing; generated headers come from the build.
mapfile -t sources < <(git ls-files --cached --others --exclude-standard '*.cc' | grep -E '^(base|embedding|transport|batcher|result_cache|models|router|hub|remote_op|node|deploy|cli)/' |
  while read -r source; do
    if grep -qsE 'Mutex|GUARDED_BY' "$source" "${source%.cc}.h"; then printf '%s\n' "$source"; fi
  done)
[ "${#sources[@]}" -gt 0 ] || { echo "thread safety: no source to check" >&2; exit 1; }
printf '%s\n' "${sources[@]}" | xargs -P 2 -I{} clang++-14 -std=c++20 -fsyntax-only -Wthread-safety -Werror \
  -I. -isystem "$build/generated" -isystem "$root/include" -DONNX_ML=1 -DONNX_NAMESPACE=onnx -DSPDLOG_FMT_EXTERNAL -DSPDLOG_SHARED_LIB {}
echo "thread safety: ${#sources[@]} sources checked"
