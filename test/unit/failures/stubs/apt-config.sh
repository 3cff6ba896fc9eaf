# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
/bin/cat "$WORLD"/etc/apt/apt.conf.d/*
exit 0
