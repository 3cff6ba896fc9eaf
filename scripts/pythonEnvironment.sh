#!/usr/bin/env bash
# pythonEnvironment.sh DIRECTORY LOCK [uv]: a virtual environment with exactly the packages of a lock file with hashes,
# made anew when the lock has changed; by pip, or by uv, which is faster with many packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly directory=$1 lock=$2 installer=${3:-pip}

# Written when all is there.
! cmp --silent "$lock" "$directory/requirements.txt" || exit 0
if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
  echo "python3 with venv is needed: apt-get install python3-venv" >&2
  exit 1
fi
rm -rf "$directory"
python3 -m venv "$directory"
if [[ $installer == uv ]]; then
  "$directory/bin/python" -m pip install --quiet --require-hashes --requirement components/tracking/runtime/locks/uv.txt
  UV_SYSTEM_CERTS=true "$directory/bin/uv" pip install --quiet --python "$directory/bin/python" \
    --require-hashes --only-binary :all: --requirement "$lock"
else
  "$directory/bin/python" -m pip install --quiet --require-hashes --requirement "$lock"
fi
cp "$lock" "$directory/requirements.txt"
