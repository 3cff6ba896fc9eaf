#!/usr/bin/env bash
# npm test: types, lint, shell scripts, unit tests. Needs no host and no Pulumi CLI.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/npmInstall.sh
PATH=$PWD/node_modules/.bin:$PATH
# The types take one core for as long as the others take the other one.
echo "types, lint, shellcheck"
tsc &
types=$!
code=0
biome check . || code=1
# The components' scripts are parts, which a unit test checks as they are sent; so are the stubs of the tests.
git ls-files -z --cached --others --exclude-standard '*.sh' .ci/run mlflow-vps ':!components' ':!test/unit/failures/stubs' |
  xargs -0 scripts/shellcheck.sh || code=1
wait "$types" || code=1
((code == 0)) || exit "$code"
vitest run --project unit
