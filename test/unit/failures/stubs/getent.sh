# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
case $* in 'ahosts localhost') echo '127.0.0.1       STREAM localhost' && exit 0 ;; esac
[ -e "$WORLD/.state/$1/$2" ] || exit 2
echo "$2:x:998:"
exit 0
