# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
. "$stubs/owners.sh"
# For speed: where there is nothing to do.
case $1 in
  -*f*)
    present=
    for path; do [ ! -e "$path" ] && [ ! -L "$path" ] || present=yes; done
    [ -n "$present" ] || exit 0
    ;;
esac
/usr/bin/rm "$@" || exit
for path; do
  case $path in -*) continue ;; esac
  [ ! -e "$path" ] || continue
  owner_record "$path"
  for old in "$record" "$record"%*; do
    [ ! -e "$old" ] || /usr/bin/rm "$old"
  done
done
exit 0
