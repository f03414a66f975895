#!/usr/bin/env bash
# Makes a demo town under .demo/ on first use and serves it in the foreground on 127.0.0.1:$PORT.
# `make clean` removes the town. BRANCHLINE names the binary (default: the release build).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
port=${PORT:-3307}
town=$root/.demo/town
branchline=${BRANCHLINE:-${CARGO_TARGET_DIR:-$root/target}/release/branchline}

say() { printf 'demo: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

[[ $port =~ ^[0-9]+$ ]] && ((port >= 1 && port <= 65535)) || die "PORT=$port is no port"
[[ -x $branchline ]] || die "no $branchline; run \`cargo build --release\` first"
if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    die "port $port is taken (by a Branchline or Dolt that runs already?); stop that, or choose another: make run PORT=3317"
fi

# Made beside and renamed: a town is there whole or not at all.
if [[ ! -d $town ]]; then
    say "making the demo town in .demo/town (once)"
    mkdir -p .demo
    new=$(mktemp -d "$root/.demo/new.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    mkdir -p "$new/.dolt-data" "$new/mayor" "$new/daemon" "$new/home"
    chmod 700 "$new/.dolt-data" "$new/daemon"
    printf '{"type":"town","version":2,"name":"demo"}\n' >"$new/mayor/town.json"
    dolt() { HOME=$new/home DOLT_ROOT_PATH=$new/home DOLT_DISABLE_EVENT_FLUSH=1 "$root/.tools/bin/dolt" "$@"; }
    for setting in "user.name demo" "user.email demo@demo.town" "metrics.disabled true" "versioncheck.disabled true"; do
        # shellcheck disable=SC2086 # a name and a value
        dolt config --global --add $setting >/dev/null
    done
    (cd "$new/.dolt-data" && dolt sql <"$root/scripts/demo-seed.sql") >"$new/seed.log" 2>&1 ||
        { cat "$new/seed.log" >&2; die "the demo town could not be made"; }
    rm -rf "$new/home" "$new/seed.log"
    mv "$new" "$town"
    trap - EXIT
fi

# A path in the project without the way to it.
show() { printf '%s' "${1#"$root/"}"; }

hints() {
    local client="mariadb -h 127.0.0.1 -P $port -u root" bl
    bl=$(show "$branchline")
    # Seen from the town.
    [[ $bl == /* ]] || bl=../../$bl
    cat <<HINTS

  The demo town is served on 127.0.0.1:$port (user root, no password). Ctrl-C stops it.

  In another terminal:
    $client gastown -e "SELECT active_branch(), id, title FROM issues"
    BD_BRANCH=polecat-nux $client gastown -e "SELECT active_branch(), id, title FROM issues"
    BD_BRANCH=polecat-nux $client hq -e "SELECT active_branch()"      # hq is always on main
    BD_BRANCH=polecat-new $client gastown -e "UPDATE issues SET priority = 0 WHERE id = 'gt-3'; SELECT active_branch()"

  What it says about them (in the town, every command finds it by itself):
    cd $(show "$town")
    $bl status
    $bl clients
    $bl route explain --database gastown --bd-branch polecat-nux
    $bl sql gastown

HINTS
}

# Inside the town, so that the data and state directories are found as they are in a real one.
cd "$town"
export BRANCHLINE_DOLT=${BRANCHLINE_DOLT:-$root/.tools/bin/dolt}
# The demo's shell may itself be a polecat's.
env -u BD_BRANCH -u BD_ACTOR -u GT_POLECAT "$branchline" serve --listen "127.0.0.1:$port" \
    > >(while IFS= read -r line; do
        printf '%s\n' "$line"
        [[ $line != ready* ]] || hints
    done) &
server=$!
trap 'kill -TERM "$server" 2>/dev/null || true' INT TERM HUP
# `wait` ends at each signal; the server decides when it is done.
status=0
while kill -0 "$server" 2>/dev/null; do
    status=0
    wait "$server" || status=$?
done
exit "$status"
