#!/usr/bin/env bash
# Prints the path of Chromium. Installs it where it is missing, and certutil, which adds the authorities that it trusts.
set -euo pipefail

missing=()
command -v chromium >/dev/null || missing+=(chromium)
command -v certutil >/dev/null || missing+=(libnss3-tools)
if [[ ${#missing[@]} -gt 0 ]]; then
  export DEBIAN_FRONTEND=noninteractive
  if ! { apt-get update --quiet && apt-get install --quiet --yes --no-install-recommends "${missing[@]}"; } >/dev/null; then
    echo "the test in a browser needs ${missing[*]}: as root on Debian, apt-get install ${missing[*]}" >&2
    exit 1
  fi
fi
command -v chromium
