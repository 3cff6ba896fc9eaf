#!/usr/bin/env bash
# npm test: types, lint, shell scripts, unit tests. Needs no host and no Pulumi CLI.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/npmInstall.sh
PATH=$PWD/node_modules/.bin:$PATH
echo "types" && tsc
echo "lint" && biome check .
# Those of the components are parts, and a unit test checks what they make up; so are the stubs of the tests.
echo "shellcheck" &&
  git ls-files -z --cached --others --exclude-standard '*.sh' .ci/run mlflow-vps ':!components' ':!test/unit/failures/stubs' | xargs -0 scripts/shellcheck.sh
vitest run --project unit
