#!/usr/bin/env bash
# Installs what Portico builds and runs with: Debian packages, and ONNX Runtime under the user's cache folder.
# Idempotent: a second run, also of another clone, only checks and takes about a second.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: deploy/install.sh [--tests] [--print-onnxruntime-root]

  Installs the Debian packages that Portico builds with, and ONNX Runtime (library and headers)
  under ${XDG_CACHE_HOME:-$HOME/.cache}/portico. Needs root or sudo only when a package is missing.

  --tests                    also what only the tests run: a browser (124 MB to fetch, 414 MB on disk)
  --print-onnxruntime-root   install nothing; print where ONNX Runtime is (or would be)

environment:
  ONNXRUNTIME_ROOT   an ONNX Runtime of your own (include/ and lib/): used as it is, nothing is fetched

example:
  deploy/install.sh && cmake --preset release
TEXT
}

readonly ORT_VERSION=1.30.0
readonly ORT_SHA256_TARBALL=6e3390d6b783e7be946fad629292799da28d0b42f84856e50d2c1b0383291e75
readonly HEADERS_SUITE=trixie
readonly CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/portico"
readonly ORT_DIR="$CACHE/onnxruntime-$ORT_VERSION"

readonly PACKAGES=(
  build-essential cmake ninja-build ccache pkg-config git ca-certificates curl npm python3
  libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc libabsl-dev
  libzmq3-dev cppzmq-dev libonnx-dev libeigen3-dev libboost-dev libsimdjson-dev rapidjson-dev
  prometheus-cpp-dev libspdlog-dev libyaml-cpp-dev libcli11-dev libssl-dev zlib1g-dev libisal-dev libxxhash-dev libexpat1-dev
  etcd-server libgtest-dev libgmock-dev libbenchmark-dev librocksdb-dev libhiredis-dev redis-server libonnx-testdata clang-14 clang-format-14 libclang-rt-14-dev nghttp2-client
  python3-venv
)

# What `make test` needs besides.
readonly TEST_PACKAGES=(chromium)

say() { printf 'install: %s\n' "$*" >&2; }
die() { printf 'install: error: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "'$*' needs root: run as root or install sudo"
  fi
}

missing_packages() {
  local installed p
  installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 2>/dev/null | sed -n 's/^ii  *//p')
  for p in "$@"; do
    # Where the machine has an npm of its own (not Debian's package), that one serves.
    if [ "$p" = npm ] && command -v npm >/dev/null; then continue; fi
    grep -qx "$p" <<<"$installed" || printf '%s\n' "$p"
  done
}

install_packages() {
  local want
  mapfile -t want < <(missing_packages "$@")
  [ "${#want[@]}" = 0 ] && return
  say "installing ${#want[@]} Debian packages: ${want[*]}"
  as_root apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${want[@]}"
}

# The next Debian release's libonnxruntime-dev, for its headers (the C API is ABI-stable). Fetched with private lists
# so that the machine's own package lists stay as they are.
fetch_headers() {
  local work=$1 codename source
  mkdir -p "$work/parts" "$work/lists/partial" "$work/cache/archives/partial" "$work/headers"
  # shellcheck disable=SC1091
  codename=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
  for source in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    [ -f "$source" ] && grep -qE '/debian/? |/debian/?$' "$source" || continue
    # The main archive only, under the next release's name: security and updates are not needed for one package.
    case "$source" in
      *.sources) awk -v RS='' -v ORS='\n\n' '!/debian-security/' "$source" | sed -E "s/^(Suites:).*/\1 $HEADERS_SUITE/" ;;
      *) grep -E '^deb ' "$source" | grep -vE "security|$codename-" | sed -E "s/ $codename / $HEADERS_SUITE /" ;;
    esac >"$work/parts/${source##*/}" || true
    [ -s "$work/parts/${source##*/}" ] || rm -f "$work/parts/${source##*/}"
  done
  [ -n "$(ls -A "$work/parts")" ] || die "no Debian source found in /etc/apt: cannot fetch the ONNX Runtime headers; set ONNXRUNTIME_ROOT"
  local opts=(-q -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$work/parts" -o "Dir::State::Lists=$work/lists"
              -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none)
  apt-get "${opts[@]}" update >&2
  (cd "$work/headers" && apt-get "${opts[@]}" download libonnxruntime-dev >&2)
  dpkg -x "$work"/headers/libonnxruntime-dev_*.deb "$work/headers/root"
}

install_onnxruntime() {
  [ -z "${ONNXRUNTIME_ROOT:-}" ] || { say "using ONNXRUNTIME_ROOT=$ONNXRUNTIME_ROOT"; return; }
  if [ -f "$ORT_DIR/SHA256SUMS" ]; then
    (cd "$ORT_DIR" && sha256sum --quiet -c SHA256SUMS >&2) && return
    say "$ORT_DIR is damaged; fetching it again"
  fi
  local arch work
  case "$(uname -m)" in
    x86_64) arch=x64 ;;
    aarch64) arch=arm64 ;;
    *) die "no ONNX Runtime build for '$(uname -m)': set ONNXRUNTIME_ROOT to one of your own" ;;
  esac
  mkdir -p "$CACHE"
  work=$(mktemp -d "$CACHE/fetch.XXXXXX")
  # shellcheck disable=SC2064  # the folder's name is fixed now, on purpose
  trap "rm -rf '$work'" EXIT
  say "fetching ONNX Runtime $ORT_VERSION (about 110 MB, once per user)"
  (cd "$work" && npm pack --silent "onnxruntime-node@$ORT_VERSION" >&2)
  local tarball="$work/onnxruntime-node-$ORT_VERSION.tgz" got
  got=$(sha256sum "$tarball" | cut -d' ' -f1)
  [ "$got" = "$ORT_SHA256_TARBALL" ] || die "onnxruntime-node $ORT_VERSION: got checksum $got, want $ORT_SHA256_TARBALL; nothing was installed"
  fetch_headers "$work"
  mkdir -p "$work/ort/lib" "$work/ort/include"
  tar -xzf "$tarball" -C "$work" "package/bin/napi-v6/linux/$arch/libonnxruntime.so.1" package/package.json
  cp "$work/package/bin/napi-v6/linux/$arch/libonnxruntime.so.1" "$work/ort/lib/"
  ln -s libonnxruntime.so.1 "$work/ort/lib/libonnxruntime.so"
  local header
  header=$(find "$work/headers/root" -name onnxruntime_c_api.h | head -n 1)
  [ -n "$header" ] || die "libonnxruntime-dev holds no onnxruntime_c_api.h; set ONNXRUNTIME_ROOT"
  cp -r "$(dirname "$header")/." "$work/ort/include/"
  (cd "$work/ort" && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$work/SHA256SUMS"
  mv "$work/SHA256SUMS" "$work/ort/"
  rm -rf "$ORT_DIR"
  mv -T "$work/ort" "$ORT_DIR" 2>/dev/null || [ -f "$ORT_DIR/SHA256SUMS" ] || die "cannot move ONNX Runtime to $ORT_DIR"
  say "ONNX Runtime is in $ORT_DIR"
}

case "${1:-}" in
  -h | --help) usage ;;
  --print-onnxruntime-root) printf '%s\n' "${ONNXRUNTIME_ROOT:-$ORT_DIR}" ;;
  --tests) install_packages "${PACKAGES[@]}" "${TEST_PACKAGES[@]}"; install_onnxruntime ;;
  '') install_packages "${PACKAGES[@]}"; install_onnxruntime ;;
  *) usage >&2; die "unknown argument '$1'" ;;
esac
