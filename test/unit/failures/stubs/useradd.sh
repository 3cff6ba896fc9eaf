# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
for account; do :; done
[ ! -e "$WORLD/.state/passwd/$account" ] || { echo "useradd: $account already exists" >&2; exit 9; }
: >"$WORLD/.state/passwd/$account"
exit 0
