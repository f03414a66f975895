#!/bin/sh
# Runs the console's tests under AddressSanitizer: opensrv-mysql 0.7 uses freed memory when packets are
# pipelined, and the guard in src/admin/guard.rs is what keeps that from happening.
#
# Exit codes: 0 clean, 1 a test or the sanitizer failed, 69 the toolchain lacks what this needs.
set -eu
cd "$(dirname "$0")/.."

lacks() {
    echo "sanitize-console: $1" >&2
    echo "sanitize-console: NOT RUN; $2" >&2
    exit 69
}

command -v rustup >/dev/null 2>&1 || lacks "there is no rustup" "install rustup, then: rustup toolchain install nightly"
rustc +nightly --version >/dev/null 2>&1 || lacks "there is no nightly toolchain" "rustup toolchain install nightly"
target=$(rustc +nightly -vV | sed -n 's/^host: //p')
sysroot=$(rustc +nightly --print sysroot)
ls "$sysroot/lib/rustlib/$target/lib/"librustc-*_rt.asan.* >/dev/null 2>&1 ||
    lacks "nightly has no AddressSanitizer runtime for $target" "use a target that Rust ships one for, as x86_64-unknown-linux-gnu"

# --target keeps the sanitizer out of build scripts and proc macros.
# Its own directory: the flags differ from those of all other builds.
# Leaks are not what this looks for, and a killed child process would be one.
export RUSTFLAGS="-Zsanitizer=address"
export ASAN_OPTIONS="detect_leaks=0:halt_on_error=1"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/sanitize"
echo "sanitize-console: $(rustc +nightly --version), $target; building takes some minutes" >&2
# -Zsanitizer makes the tests' own code and the crates instrumented; std is the shipped one, which is enough to see
# a freed Vec being read by code that is.
cargo +nightly test --target "$target" --test console -- "${1:-pipelined}"
