#!/usr/bin/env bash
# Compiles every fuzz target; with nightly and cargo-fuzz at hand, also runs each for FUZZ_SECONDS (5; 0 is not at all).
# What a run finds is in fuzz/artifacts; `cargo +nightly fuzz run TARGET FILE` repeats it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

printf 'fuzz-check: compiling the targets\n'
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/fuzz \
    cargo check --quiet --locked --manifest-path fuzz/Cargo.toml --no-default-features --bins
[ "${FUZZ_SECONDS:-5}" -gt 0 ] || exit 0

if ! { rustup toolchain list 2>/dev/null | grep -q nightly && command -v cargo-fuzz >/dev/null; }; then
    printf 'fuzz-check: compiled; not run, because nightly or cargo-fuzz is missing (cargo install cargo-fuzz)\n'
    exit 0
fi
seconds=${FUZZ_SECONDS:-5}
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
for target in fuzz/fuzz_targets/*.rs; do
    target=$(basename "$target" .rs)
    printf 'fuzz-check: %s for %s s\n' "$target" "$seconds"
    # New inputs go to a directory of their own: the committed corpus stays as it is.
    mkdir -p "$found/$target"
    cargo +nightly fuzz run "$target" "$found/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -max_len=8192 -print_final_stats=0 2>"$found/log" ||
        { tail -40 "$found/log" >&2; exit 1; }
done
