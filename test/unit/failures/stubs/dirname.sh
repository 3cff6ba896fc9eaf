# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# For speed.
case ${1%/} in
  */*) path=${1%/} && path=${path%/*} && echo "${path:-/}" ;;
  *) echo . ;;
esac
exit 0
