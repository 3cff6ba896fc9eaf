# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# What runs another command: that one is found by the same PATH.
case $name in
  setpriv)
    while [ "$1" != -- ]; do shift; done
    shift
    exec "$@"
    ;;
  unshare) # --net COMMAND: an empty network, gone with the command
    shift
    export NETWORK="$WORLD/.state/network.$$"
    /bin/mkdir "$NETWORK"
    "$@"
    code=$?
    /bin/rm -r "$NETWORK"
    exit "$code"
    ;;
  *) exec "/usr/bin/$name" "$@" ;;
esac
