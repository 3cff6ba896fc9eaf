# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# For speed: CLK_TCK.
echo 100
exit 0
