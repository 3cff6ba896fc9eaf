# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# Who owns what is written down beside the world, for only root may give files away.

# owner_record PATH: sets record.
owner_record() {
  rest=${1#"$WORLD"}
  rest=${rest%/}
  record=$WORLD/.owners/
  while case $rest in */*) true ;; *) false ;; esac do
    record=$record${rest%%/*}%
    rest=${rest#*/}
  done
  record=$record$rest
}

# set_owner PATH OWNER:GROUP
set_owner() {
  owner_record "$1"
  if [ "$2" = root:root ]; then [ ! -e "$record" ] || /bin/rm "$record"; else echo "$2" >"$record"; fi
}

# owner_of PATH: sets owner.
# shellcheck disable=SC2034 # for who asks
owner_of() {
  owner_record "$1"
  owner=root:root
  [ ! -e "$record" ] || read -r owner <"$record"
}
