# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
verb='' names=''
while [ $# -gt 0 ]; do
  case $1 in
    -o) shift ;;
    -*) ;;
    *) if [ -z "$verb" ]; then verb=$1; else names="$names $1"; fi ;;
  esac
  shift
done
lists=$WORLD/var/lib/apt/lists
case $verb in
  update) /bin/mkdir -p "$lists" && : >"$lists/mirror_Packages" && /usr/bin/touch "$lists" ;;
  install)
    [ -e "$lists/mirror_Packages" ] || { echo "E: Unable to locate package$names" >&2 && exit 100; }
    for package in $names; do : >"$WORLD/.state/packages/$package"; done
    ;;
  *) echo "apt-get: the stub does not know $verb" >&2 && exit 64 ;;
esac
exit 0
