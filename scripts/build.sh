#!/usr/bin/env bash
# Makes dist/, what the npm package holds: the components as JavaScript with types, and beside them what they read as they run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
rm -rf dist
node_modules/.bin/tsc -p tsconfig.build.json
node -e 'require("node:fs").cpSync("components", "dist/components", { recursive: true, filter: (file) => !file.endsWith(".ts") })'
