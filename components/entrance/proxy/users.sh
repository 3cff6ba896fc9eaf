# shellcheck shell=bash
# The users, and the hashes of their passwords.

# hash_of PASSWORD SALT: salted SHA-1, which nginx computes for every request: the passwords are random, 190 bits, so
# there is nothing to guess that a slow hash would slow down.
hash_of() {
  local encoded
  encoded=$(
    {
      printf '%s%s' "$1" "$2" | openssl dgst -sha1 -binary
      printf '%s' "$2"
    } | base64 --wrap=0
  )
  printf '{SSHA}%s\n' "$encoded"
}

# is_hash_of HASH PASSWORD: ours are 20 bytes of SHA-1 and a salt of 16 characters.
is_hash_of() {
  local salt hash
  [[ $1 =~ ^\{SSHA\}([A-Za-z0-9+/]{48})$ ]] || return 0
  salt=$(base64 --decode <<<"${BASH_REMATCH[1]}" | tail -c +21 | tr -d '\0')
  hash=$(hash_of "$2" "$salt")
  [[ $hash != "$1" ]] || echo yes
}

# nginx_group: of the workers, who read the file; without a word in nginx.conf, what the distribution has built in; nothing
# without nginx.conf.
nginx_group() {
  local text word=$'["\']?([^; \t\n"\']+)["\']?' group=nogroup
  local pattern=$'(^|[;}])[ \t\n]*user[ \t\n]+'"$word"$'([ \t\n]+'"$word"$')?[ \t\n]*;'
  [[ -e /etc/nginx/nginx.conf ]] || return 0
  text=$(sed -E 's/(^|[[:space:];{}])#.*/\1/' /etc/nginx/nginx.conf)
  [[ ! $text =~ $pattern ]] || group=${BASH_REMATCH[4]:-${BASH_REMATCH[2]}}
  echo "$group"
}

declare -A stored=() # user to hash, as in the file

# read_users: fills 'stored', and reports a user with two lines; nginx uses the first.
read_users() {
  local name hash twice=
  stored=()
  [[ -e $users_file ]] || return 0
  while IFS=: read -r name hash _ || [[ -n $name ]]; do
    [[ -n $name && $name != '#'* ]] || continue
    if [[ -n ${stored[$name]+set} ]]; then twice=yes; else stored[$name]=$hash; fi
  done <"$users_file"
  [[ -z $twice ]] || problem "$users_file names a user twice"
}

# Each user's line in the file must be made from the user's password; nobody else may be in it.
check_users() {
  local user right group
  if [[ ! -f $users_file ]]; then
    problem "$users_file is missing"
    return
  fi
  group=$(nginx_group)
  [[ -z $group ]] || check_access "$users_file" "root:$group" 0640
  read_users
  for user in "${!users[@]}"; do
    if [[ -z ${stored[$user]:-} ]]; then
      problem "user $user is missing"
      continue
    fi
    right=$(is_hash_of "${stored[$user]}" "${users[$user]}")
    [[ -n $right ]] || problem "user $user has a different password"
  done
  for user in "${!stored[@]}"; do
    [[ -n ${users[$user]:-} ]] || problem "unexpected user $user in $users_file"
  done
}

# A correct line keeps its salt, so that a correct file is left alone.
render_users() {
  local sorted user hash right salt
  sorted=$(printf '%s\n' "${!users[@]}" | sort)
  read_users >/dev/null # rendering ends what stands there twice
  printf '%s\n' "$managed"
  for user in $sorted; do
    hash=${stored[$user]:-}
    right=$(is_hash_of "$hash" "${users[$user]}")
    if [[ -z $right ]]; then
      salt=$(openssl rand -hex 8)
      hash=$(hash_of "${users[$user]}" "$salt")
    fi
    printf '%s:%s\n' "$user" "$hash"
  done
}
