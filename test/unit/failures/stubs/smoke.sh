# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
port=${3##*:}
[ -L "$WORLD/proc/600/fd/$port" ] || { echo 'smoke test: no answer' >&2 && exit 1; }
