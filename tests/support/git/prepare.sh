#!/usr/bin/env bash
# Installs what the tests' git remotes are made of: git, ssh and sshd, and lighttpd for git http-backend (Debian packages:
# only as root). The tests start their own servers, so no service of a package is started, nor left to start at boot if
# it was not there before. When all is there it takes a moment.
set -euo pipefail

say() { printf 'git remotes: %s\n' "$*" >&2; }

packages=()
services=()
# need PROGRAM PACKAGE [SERVICE]
need() {
    PATH=$PATH:/usr/sbin:/usr/lib/git-core command -v "$1" >/dev/null 2>&1 && return
    packages+=("$2")
    services+=("${@:3}")
}

need git git
need git-http-backend git
need ssh openssh-client
need ssh-keygen openssh-client
need sshd openssh-server ssh
need lighttpd lighttpd lighttpd
((${#packages[@]})) || exit 0

if [[ $(id -u) != 0 ]]; then
    say "missing: ${packages[*]}. Install them (as root: apt-get install --no-install-recommends ${packages[*]}) and try again."
    exit 1
fi
say "installing ${packages[*]}"
# Asked by invoke-rc.d before it starts a service: 101 forbids.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >&2
apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
for service in "${services[@]}"; do
    if command -v systemctl >/dev/null 2>&1; then systemctl disable --quiet "$service" >&2 || true; fi
done
