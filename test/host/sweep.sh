#!/usr/bin/env bash
# Takes down the guests that an interrupted run of the tests left behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
guests=$(sandbox/vps.sh list | awk '/^test-/ { print $1 }')
for guest in $guests; do
  sandbox/vps.sh down "$guest"
done
