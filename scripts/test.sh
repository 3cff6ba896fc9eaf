#!/usr/bin/env bash
# npm test: types, lint, shell scripts, unit tests. Needs no host and no Pulumi CLI.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/npmInstall.sh
PATH=$PWD/node_modules/.bin:$PATH
echo "types" && tsc
echo "lint" && biome check .
# The components' scripts are parts, which a unit test checks as they are sent; so are the stubs of the tests.
echo "shellcheck" &&
  git ls-files -z --cached --others --exclude-standard '*.sh' .ci/run mlflow-vps ':!components' ':!test/unit/failures/stubs' | xargs -0 scripts/shellcheck.sh
vitest run --project unit
