#!/usr/bin/env bash
# Everything that `make test` runs: layering, clang's thread-safety analysis, all tests of the release build, the unit tests under
# AddressSanitizer (with UBSan) and ThreadSanitizer, the fuzzers. Goes on after a failure and ends with how many tests passed and failed.
# PORTICO_SANITIZERS=0 leaves the sanitizer builds out, PORTICO_FUZZ_SECONDS=0 the fuzzers (15: how long each runs).
set -uo pipefail
cd "$(dirname "$0")/../.."

results=build/test_results
rm -rf "$results"
mkdir -p "$results"
passed=0
failed=0
notes=()

# step NAME: says what comes now and how long the step before took.
step_name=
step() {
  [ -z "$step_name" ] || printf -- '-- %s: %d s\n' "$step_name" "$((SECONDS - step_begin))"
  step_name=$1
  step_begin=$SECONDS
  [ -z "$1" ] || printf '\n== %s (%s)\n' "$1" "$(date +%T)"
}

# record NAME STATUS: one check that is no GoogleTest.
record() {
  if [ "$2" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); notes+=("failed: $1"); fi
}

# collect PRESET DIR: adds up the GoogleTest results below DIR; what failed, or passed in its second try alone, is told at the end.
collect() {
  local counts
  counts=$(python3 tests/tools/count_results.py "$1" "$2") || true
  read -r p f <<<"$(head -n 1 <<<"$counts")"
  passed=$((passed + p))
  failed=$((failed + f))
  [ -z "$(sed 1d <<<"$counts")" ] || notes+=("$(sed 1d <<<"$counts")")
}

# build DIR: with its progress for who looks on; a log gets warnings and errors alone.
build() {
  if [ -t 1 ]; then cmake --build "$1"; else cmake --build "$1" -- --quiet; fi
}

run_preset() {
  local preset=$1 dir=$2 jobs=$3
  step "build $preset"
  if ! tests/tools/configure.sh "$preset" || ! build "$dir"; then record "build $preset" 1; return; fi
  step "test $preset"
  rm -rf "$dir/test_results"
  mkdir -p "$dir/test_results"
  rm -f "$dir/Testing/Temporary/LastTestsFailed.log"
  ctest --test-dir "$dir" --output-on-failure -j "$jobs" --no-tests=error
  collect "$preset" "$dir"
}

step "layering"
python3 tests/tools/layering.py
record layering $?

run_preset release build 2

step "clang thread-safety analysis"
tests/tools/thread_safety.sh build
record "thread safety" $?

if [ "${PORTICO_SANITIZERS:-1}" != 0 ]; then
  export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
  export TSAN_OPTIONS="suppressions=$PWD/tests/tools/tsan.supp halt_on_error=1 second_deadlock_stack=1"
  export LSAN_OPTIONS="suppressions=$PWD/tests/tools/lsan.supp print_suppressions=0"
  run_preset asan build/asan 2
  # gRPC's library is not built for ThreadSanitizer: every call through it looks like a race. Nor is protobuf's, whose headers lay
  # map fields out anew under it: text formats with maps (ModelServerConfig) crash.
  GTEST_FILTER='-*Grpc*:Foreign*:*CancelChain*:Etcd*:FallbackNote*:RowNoteTest*:TfsClassify*:TfsMultiInference*:TfsReload*:Tls*:ModelServerConfig*' run_preset tsan build/tsan 2
fi

if [ "${PORTICO_FUZZ_SECONDS:-15}" != 0 ]; then
  step "build fuzz"
  if tests/tools/configure.sh fuzz && build build/fuzz; then
    step "fuzz, ${PORTICO_FUZZ_SECONDS:-15} s each"
    # A check goes the same way each time; `make fuzz` looks for new ones.
    tests/fuzz/run.sh --time "${PORTICO_FUZZ_SECONDS:-15}" --seed 1 --results "$results/fuzz" || true
    fuzzers=(tests/fuzz/*_fuzz.cc)
    for fuzzer in "${fuzzers[@]}"; do
      name=$(basename "$fuzzer" _fuzz.cc)
      grep -qsx "$name 0" "$results/fuzz"
      record "fuzz: $name" $?
    done
  else
    record "build fuzz" 1
  fi
fi
step ""

printf '\n'
for note in "${notes[@]+"${notes[@]}"}"; do printf '%s\n' "$note"; done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
