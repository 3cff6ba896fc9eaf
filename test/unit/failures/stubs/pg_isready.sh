# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
[ -e "$WORLD/.state/pg/up" ] || exit 2
exit 0
