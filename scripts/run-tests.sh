#!/bin/sh
# Runs the whole test suite. The last line is `N passed, N failed`, the sum over all of cargo's test programs; the
# exit status is not 0 if a test failed, if a program did not get as far as its result, or if none ran.
set -u
cd "$(dirname "$0")/.."

log=$(mktemp) || exit 1
trap 'rm -f "$log" "$log.status"' EXIT
# The status of cargo, not that of tee.
{ cargo test --locked --no-fail-fast "$@" 2>&1; echo $? >"$log.status"; } | tee "$log"
status=$(cat "$log.status" 2>/dev/null || echo 1)

# `test result: ok. 12 passed; 0 failed; 0 ignored; …`; coloured where somebody forces colours.
sum() { sed 's/\x1b\[[0-9;]*m//g' "$log" | sed -n "s/^test result: .* \([0-9][0-9]*\) $1;.*/\1/p" | paste -sd+ - | grep . || echo 0; }
passed=$(($(sum passed)))
failed=$(($(sum failed)))
ignored=$(($(sum ignored)))

if [ "$ignored" -gt 0 ]; then
    echo "$ignored ignored: every test has to run here" >&2
    [ "$status" -ne 0 ] || status=1
fi
if [ "$passed" -eq 0 ]; then
    echo "no test ran" >&2
    [ "$status" -ne 0 ] || status=1
fi
# A program that failed to build or crashed has no result line.
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
if [ "$failed" -gt 0 ] && [ "$status" -eq 0 ]; then status=1; fi
if [ "$failed" -gt 0 ]; then
    echo "what failed, once more:" >&2
    sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -A 4 -E "^thread '.*' .*panicked at " | head -n 200 >&2
fi
echo "$passed passed, $failed failed"
exit "$status"
