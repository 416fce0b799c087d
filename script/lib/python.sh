# Sourced by the scripts, in the root of the repository: the Python that the virtualenv is made from.
# shellcheck shell=bash

suits() {
  command -v "$1" >/dev/null && "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# choose_python: print the path of the first that suits, or nothing. The virtualenv itself is none, also where PATH begins
# with it: its own Python would count as another one than that it was made from.
choose_python() (
  PATH=$(tr : '\n' <<<"$PATH" | grep -vxF "$PWD/.venv/bin" | paste -sd:)
  for candidate in ${SUPERVISOR_PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if suits "$candidate"; then
      command -v "$candidate"
      break
    fi
  done
)
