# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
. "$stubs/owners.sh"
recursive=
while case $1 in --recursive) recursive=yes ;; --*) ;; *) false ;; esac do shift; done
owner=$1
shift
for path in "$@"; do
  [ -e "$path" ] || { echo "chown: $path is missing" >&2; exit 1; }
  set_owner "$path" "$owner"
  [ -z "$recursive" ] || /usr/bin/find "$path" -mindepth 1 | while read -r path; do set_owner "$path" "$owner"; done
done
exit 0
