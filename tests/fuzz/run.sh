#!/usr/bin/env bash
# Runs fuzzers of build/fuzz, two at a time, each for a fixed time, from its seed corpus and what earlier runs found.
#   usage: tests/fuzz/run.sh [--time SECONDS] [--seed N] [--results FILE] [NAME...]
# An input that breaks one stays in build/fuzz/findings; how to run it again is printed. FILE gets "NAME STATUS" per fuzzer.
# --seed N: the same way through the inputs each time, as a check wants it; without it another one each time, which finds more.
set -uo pipefail
cd "$(dirname "$0")/../.."

seconds=30
seed=0
results=/dev/null
names=()
while [ $# -gt 0 ]; do
  case $1 in
    --time) seconds=$2; shift 2 ;;
    --seed) seed=$2; shift 2 ;;
    --results) results=$2; shift 2 ;;
    -*) echo "fuzz: got '$1', want [--time SECONDS] [--seed N] [--results FILE] [NAME...]" >&2; exit 2 ;;
    *) names+=("$1"); shift ;;
  esac
done

bin=build/fuzz/tests/fuzz
all=()
for source in tests/fuzz/*_fuzz.cc; do
  name=$(basename "$source" _fuzz.cc)
  all+=("$name")
done
[ "${#names[@]}" -gt 0 ] || names=("${all[@]}")
for name in "${names[@]}"; do
  if [ ! -x "$bin/$name" ]; then echo "fuzz: got '$name', want one of: ${all[*]}" >&2; exit 2; fi
done

mkdir -p build/fuzz/seeds build/fuzz/findings build/fuzz/corpus
"$bin/make_corpus" build/fuzz/seeds || exit 1

dictionary() {
  case $1 in
    *_json | foreign_reply | hub_manifest) echo -dict=tests/fuzz/json.dict ;;
    mesh_file | servable_yaml) echo -dict=tests/fuzz/yaml.dict ;;
    expression) echo -dict=tests/fuzz/expression.dict ;;
    http_path) echo -dict=tests/fuzz/path.dict ;;
  esac
}

run_one() {
  local name=$1 log=build/fuzz/$1.log status=0 dict
  dict=$(dictionary "$name")
  mkdir -p "build/fuzz/corpus/$name"
  # shellcheck disable=SC2086
  ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=0 UBSAN_OPTIONS=print_stacktrace=1 \
    "$bin/$name" -max_total_time="$seconds" -seed="$seed" -rss_limit_mb=2048 -malloc_limit_mb=1024 -timeout=10 -max_len=8192 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/findings/$name-" $dict "build/fuzz/corpus/$name" "build/fuzz/seeds/$name" >"$log" 2>&1 || status=$?
  printf '%s %s\n' "$name" "$status" >>"$results"
  if [ "$status" = 0 ]; then
    printf 'fuzz: %-16s %9s inputs, %s\n' "$name" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
      "$(grep -oE 'cov: [0-9]+' "$log" | tail -1)"
    return 0
  fi
  local input
  input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
  # A crash while the seeds are read has no artifact; the log says which.
  {
    printf 'fuzz: %s FAILED: %s\n' "$name" "$(grep -m 1 -E 'ERROR:|runtime error:|property does not hold' "$log")"
    grep -A 14 -m 1 -E 'ERROR:|runtime error:|property does not hold' "$log" | sed 's/^/    /'
    printf '    input: %s (log: %s)\n    run it again: %s %s\n' "${input:-see the log}" "$log" "$bin/$name" "${input:-}"
  } >&2
  return 1
}

failed=0
running=0
for name in "${names[@]}"; do
  if [ "$running" -ge 2 ]; then wait -n || failed=1; running=$((running - 1)); fi
  run_one "$name" &
  running=$((running + 1))
done
while [ "$running" -gt 0 ]; do wait -n || failed=1; running=$((running - 1)); done
exit "$failed"
