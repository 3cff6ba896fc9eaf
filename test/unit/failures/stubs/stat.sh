# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# -c FORMAT PATH
format=$2
case $format in
  *%U:%G*)
    . "$stubs/owners.sh"
    [ -e "$3" ] || exec /usr/bin/stat "$3"
    owner_of "$3"
    [ "$format" != %U:%G ] || { echo "$owner" && exit 0; }
    format="${format%%\%U*}$owner${format#*%G}"
    ;;
esac
shift 2
exec /usr/bin/stat -c "$format" "$@"
