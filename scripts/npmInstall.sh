#!/usr/bin/env bash
# Installs the npm packages of the lock file when they are not there as it says.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# npm writes this file when it is done.
if [[ ! node_modules/.package-lock.json -nt package-lock.json ]]; then
  echo "installing npm packages"
  npm ci --no-progress --loglevel=error
fi
