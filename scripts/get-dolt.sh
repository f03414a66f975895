#!/bin/sh
# Puts a Dolt that Branchline can use at .tools/bin/dolt: one that is there already (BRANCHLINE_DOLT, .tools, the
# cache, PATH), else the pinned version built from its Go module into the cache. Idempotent; 0.2 s when cached.
set -eu

VERSION_MIN=1.81.8
VERSION=1.88.1
MODULE=github.com/dolthub/dolt/go/cmd/dolt@v0.40.5-0.20260507221239-14b38e279fc6

cd "$(dirname "$0")/.."
cache="${XDG_CACHE_HOME:-$HOME/.cache}/branchline/dolt-$VERSION"
built="$cache/bin/dolt"
link=.tools/bin/dolt

say() { printf 'get-dolt: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# usable PATH: runs, and is new enough.
usable() {
    [ -f "$1" ] && [ -x "$1" ] || return 1
    probe=$(mktemp -d)
    found=$(HOME="$probe" DOLT_ROOT_PATH="$probe" DOLT_DISABLE_EVENT_FLUSH=1 timeout 30 "$1" version 2>/dev/null |
        sed -n 's/^dolt version \([0-9][0-9]*\.[0-9][0-9]*\.[0-9][0-9]*\).*/\1/p' | head -n 1) || found=
    rm -rf "$probe"
    [ -n "$found" ] && [ "$(printf '%s\n%s\n' "$VERSION_MIN" "$found" | sort -V | head -n 1)" = "$VERSION_MIN" ]
}

# use PATH: link it, replacing whatever link is there in one step.
use() {
    mkdir -p "$(dirname "$link")"
    if [ "$(readlink -f "$link" 2>/dev/null || true)" != "$(readlink -f "$1")" ]; then
        ln -s "$(readlink -f "$1")" "$link.$$"
        mv -f "$link.$$" "$link"
    fi
    say "Dolt $found at $(readlink -f "$link")"
    exit 0
}

if [ -n "${BRANCHLINE_DOLT:-}" ]; then
    usable "$BRANCHLINE_DOLT" || die "BRANCHLINE_DOLT=$BRANCHLINE_DOLT is no Dolt of $VERSION_MIN or newer"
    use "$BRANCHLINE_DOLT"
fi
for candidate in "$link" "$built" "$(command -v dolt || true)"; do
    if [ -n "$candidate" ] && usable "$candidate"; then use "$candidate"; fi
done

# From here on it is built. Go may be installed where PATH does not look.
for dir in /usr/local/go/bin "$HOME/go/bin" "$HOME/sdk/go/bin"; do
    command -v go >/dev/null 2>&1 || { [ -x "$dir/go" ] && PATH="$PATH:$dir"; }
done
command -v go >/dev/null 2>&1 ||
    die "Dolt $VERSION has to be built and there is no Go; install Go 1.25 or newer, or Dolt $VERSION_MIN or newer"
command -v cc >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 ||
    die "Dolt $VERSION has to be built and there is no C compiler; install one (Debian: apt-get install gcc libc6-dev)"

# Dolt's regular expressions are ICU's.
has_icu() { echo '#include <unicode/uregex.h>' | "${CC:-cc}" -E -x c - >/dev/null 2>&1; }
if ! has_icu; then
    { command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; } ||
        die "Dolt needs the headers of ICU; install them (Debian: apt-get install libicu-dev libstdc++-dev)"
    say "installing libicu-dev and g++"
    apt_log=$(mktemp)
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends libicu-dev g++; } \
        >"$apt_log" 2>&1 || { tail -n 20 "$apt_log" >&2; rm -f "$apt_log"; die "apt-get failed"; }
    rm -f "$apt_log"
fi

mkdir -p "$cache/bin"
exec 9>"$cache/lock"
if ! flock -n 9; then
    say "waiting for another build of Dolt $VERSION"
    flock -w 1800 9 || die "the other build did not end within 30 minutes"
fi
# Whoever had the lock has built it, most likely.
if usable "$built"; then use "$built"; fi

say "building Dolt $VERSION (4 to 7 minutes on two cores, once; kept in $cache)"
out=$(mktemp -d "$cache/build.XXXXXX")
log="$out/log"
build=
cleanup() {
    [ -z "$build" ] || kill "$build" 2>/dev/null || true
    rm -rf "$out"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# The caller's flags could point the build elsewhere, or forbid cgo.
env -u GOFLAGS -u GOOS -u GOARCH GOBIN="$out" CGO_ENABLED=1 GOTOOLCHAIN="${GOTOOLCHAIN:-auto}" \
    nice go install -v "$MODULE" >"$log" 2>&1 9>&- &
build=$!
start=$(date +%s)
shown=0
while kill -0 "$build" 2>/dev/null; do
    sleep 1
    elapsed=$(($(date +%s) - start))
    if [ $((elapsed - shown)) -ge 5 ]; then
        shown=$elapsed
        # Empty while nothing but the link is left to do.
        say "  ${elapsed} s, $(wc -l <"$log") packages compiled: $(tail -n 1 "$log" | cut -c 1-60)"
    fi
done
wait "$build" || { build=; tail -n 30 "$log" >&2; die "the build failed (see above)"; }
build=
usable "$out/dolt" || die "what was built does not run"
mv -f "$out/dolt" "$built"
say "built in $(($(date +%s) - start)) s"
usable "$built" && use "$built"
