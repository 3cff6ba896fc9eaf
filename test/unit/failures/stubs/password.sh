# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# A session in which a password is changed, as it comes: what is not committed is undone.
call="psql $arguments <<< $statement"
announce "$call"
role=${statement#*alter role \"} role=${role%%\"*}
hash=${statement#*password \'} hash=${hash%%\'*}
[ -e "$pg/up" ] && [ -e "$pg/roles/$role" ] || { echo "psql: error: role $role does not exist" >&2 && exit 3; }
echo ready
[ -z "$killed" ] || exit
IFS= read -r line || exit 0
announce "psql $arguments <<< $line"
if [ "$line" = 'commit;' ]; then
  read -r rights <"$pg/roles/$role"
  printf '%s\n' "$rights" "password=$hash" >"$pg/roles/$role"
fi
