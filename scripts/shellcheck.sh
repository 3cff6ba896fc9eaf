#!/usr/bin/env bash
# Runs the pinned version of shellcheck, with the options of .shellcheckrc.
set -euo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$project/scripts/pythonEnvironment.sh" .sandbox/shellcheck scripts/shellcheck.txt
exec "$project/.sandbox/shellcheck/bin/shellcheck" --rcfile "$project/.shellcheckrc" "$@"
