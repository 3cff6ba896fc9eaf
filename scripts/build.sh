#!/usr/bin/env bash
# Makes package/, what the npm package holds: the components as JavaScript with types, and beside them what they read as they run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
rm -rf package
node_modules/.bin/tsc -p tsconfig.build.json
node -e 'require("node:fs").cpSync("components", "package/dist/components", { recursive: true, filter: (file) => !file.endsWith(".ts") })'
cp README.md package/
node scripts/manifest.cjs >package/package.json
