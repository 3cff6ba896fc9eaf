# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# -o and -g are taken out of the arguments.
case "$*" in
  -d\ -m\ *) [ ! -d "$4" ] || exit 0 ;; # for speed
esac
. "$stubs/owners.sh"
owner='' group='' number=$#
while [ "$number" -gt 0 ]; do
  argument=$1
  shift
  number=$((number - 1))
  case $argument in
    -o) owner=$1 && shift && number=$((number - 1)) ;;
    -g) group=$1 && shift && number=$((number - 1)) ;;
    *) set -- "$@" "$argument" ;;
  esac
done
/usr/bin/install "$@" || exit
[ -z "$owner" ] || set_owner "$argument" "$owner:$group"
exit 0
