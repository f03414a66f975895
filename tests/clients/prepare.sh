#!/usr/bin/env bash
# Makes the real clients that tests/clients.rs drives ready to run, and prints where they are as KEY=VALUE lines.
#
# What is missing is installed (Debian packages: only as root) or built into the cache, once per version of its sources;
# progress goes to standard error. When all is there it takes a moment. Versions are pinned in the files beside this one.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/branchline/clients
mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9

say() { printf 'clients: %s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

# Debian packages for the programs that are missing: need PROGRAM PACKAGE…
packages=()
need() {
    local program=$1
    shift
    command -v "$program" >/dev/null 2>&1 || packages+=("$@")
}

need mariadb mariadb-client
need python3 python3 python3-venv
need node nodejs
need npm npm
need java default-jdk-headless
need javac default-jdk-headless
need mvn maven
if command -v python3 >/dev/null 2>&1 && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    packages+=(python3-venv)
fi
if ((${#packages[@]})); then
    [[ $(id -u) == 0 ]] || fail "missing: ${packages[*]}. Install them (as root: apt-get install ${packages[*]}) and try again."
    say "installing ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
fi
command -v go >/dev/null 2>&1 || fail "missing: go. It is also what builds Dolt; see CONTRIBUTING."

# A directory of the cache for sources in this state: slot NAME FILE…
slot() {
    local name=$1
    shift
    printf '%s/%s-%s\n' "$cache" "$name" "$(cd "$here" && cat -- "$@" | sha256sum | cut -c1-16)"
}

# Builds into a slot unless it is complete; older slots of the same name go: fill NAME SLOT COMMAND…
fill() {
    local name=$1 slot=$2
    shift 2
    [[ -e $slot/.complete ]] && return
    say "preparing $name (once)"
    rm -rf "$slot"
    mkdir -p "$slot"
    local log=$slot.log
    if ! "$@" "$slot" >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        fail "$name could not be prepared; the whole output is in $log"
    fi
    touch "$slot/.complete"
    local old
    for old in "$cache/$name"-*; do
        [[ $old == "$slot" || $old == "$log" ]] || rm -rf "$old"
    done
}

install_python() {
    python3 -m venv "$1"
    "$1/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir -r "$here/python/requirements.txt"
}

install_node() {
    cp "$here/node/package.json" "$here/node/package-lock.json" "$1/"
    (cd "$1" && npm ci --omit=dev --no-audit --no-fund --no-progress)
}

build_go() {
    (cd "$here/go" && go build -trimpath -o "$1/client" .)
}

build_java() {
    mvn -q -B --no-transfer-progress -f "$here/java/pom.xml" -Dmaven.repo.local="$cache/maven" -DbuildDirectory="$1" process-classes
}

python_slot=$(slot python python/requirements.txt)
node_slot=$(slot node node/package.json node/package-lock.json)
sources() { (cd "$here" && find "$1" -type f -name "$2" | LC_ALL=C sort); }
mapfile -t go_sources < <(sources go '*.go')
mapfile -t java_sources < <(sources java '*.java')
go_slot=$(slot go go/go.mod go/go.sum "${go_sources[@]}")
java_slot=$(slot java java/pom.xml "${java_sources[@]}")
fill python "$python_slot" install_python
fill node "$node_slot" install_node
fill go "$go_slot" build_go
fill java "$java_slot" build_java

printf 'python=%s\n' "$python_slot/bin/python"
printf 'node_modules=%s\n' "$node_slot"
printf 'go=%s\n' "$go_slot/client"
printf 'java=%s\n' "$java_slot"
