# Sourced by the scripts: Debian packages, installed only when they are missing.
# shellcheck shell=bash

is_installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

apt_quietly() {
  local log
  log=$(mktemp)
  if DEBIAN_FRONTEND=noninteractive apt-get -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1; then
    rm -f "$log"
    return 0
  fi
  tail -n 20 "$log" >&2
  rm -f "$log"
  return 1
}

# install_packages NAME...: what is there already costs nothing, not even a look at the package lists.
install_packages() {
  local name missing=()
  for name in "$@"; do
    is_installed "$name" || missing+=("$name")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "missing: ${missing[*]}. Without apt-get they must be installed by hand."
  say "Installing ${missing[*]}"
  if ! { apt_quietly update && apt_quietly install "${missing[@]}"; }; then
    say "That did not work; trying once more"
    sleep 3
    { apt_quietly update && apt_quietly install "${missing[@]}"; } || die "could not install: ${missing[*]}"
  fi
}
