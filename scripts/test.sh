#!/usr/bin/env bash
# npm test: types, lint, shell scripts, unit tests. Needs no host and no Pulumi CLI.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/npmInstall.sh
PATH=$PWD/node_modules/.bin:$PATH
echo "types" && tsc
echo "lint" && biome check .
if command -v shellcheck >/dev/null; then
  echo "shellcheck" && git ls-files -z --cached --others --exclude-standard '*.sh' .ci/run | xargs -0 shellcheck
else
  echo "shellcheck: not installed, the shell scripts are not checked"
fi
vitest run --project unit
