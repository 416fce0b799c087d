# Sourced by the scripts: how they speak, and what they refuse to start without.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

need_root() {
  [ "$(id -u)" -eq 0 ] || die "this must run as root: it installs packages and drives the Docker engine. Try: sudo $0"
}

# Prints the comment block at the top of the calling script: that block is its manual.
show_help() {
  sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"
}
