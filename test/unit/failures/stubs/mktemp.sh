# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# TEMPLATE, or -d TEMPLATE: names that are the same in every run.
number=0
for template; do :; done
while
  number=$((number + 1))
  path=${template%XXXXXX}00000$number
  [ -e "$path" ]
do :; done
if [ "$1" = -d ]; then /bin/mkdir -m 700 "$path"; else (umask 077 && : >"$path"); fi || exit
echo "$path"
exit 0
