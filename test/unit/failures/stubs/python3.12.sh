# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
. "$stubs/python3.sh"
