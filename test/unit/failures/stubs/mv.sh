# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
. "$stubs/owners.sh"
while case $1 in -*) true ;; *) false ;; esac do options="$options $1" && shift; done
from=$1 to=$2
[ ! -d "$to" ] || case "$options" in *--no-target-directory* | *-T*) ;; *) to=${to%/}/${from##*/} ;; esac
# shellcheck disable=SC2086 # one word each
/usr/bin/mv $options "$1" "$2" || exit
owner_record "$from"
old=$record
owner_record "$to"
[ ! -e "$record" ] || /bin/rm "$record"
for path in "$old" "$old"%*; do
  [ ! -e "$path" ] || /bin/mv "$path" "$record${path#"$old"}"
done
exit 0
