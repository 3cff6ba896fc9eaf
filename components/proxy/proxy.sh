# shellcheck shell=bash
# The site on nginx, with the users who may enter. Other sites on the same nginx are left alone.

readonly site_file=/etc/nginx/sites-available/mlflow-vps
readonly default_link=/etc/nginx/sites-enabled/default
declare -rA site_parts=([site]=$site_file [link]=$site_link [default]=$default_link)
readonly site_before=/etc/nginx/mlflow-vps.before # how it was, as long as another site is being tried

# The site as it fits this host: without IPv6 nginx would refuse to start, and from 1.25.1 on HTTP/2 is asked for in
# another way.
site_here() {
  local text=$site nginx_version oldest
  [[ -e /proc/net/if_inet6 ]] || text=$(grep -v 'listen \[::\]' <<<"$text")
  nginx_version=$(nginx -v 2>&1)
  [[ $nginx_version =~ /([0-9]+(\.[0-9]+)+) ]] || fail "nginx -v tells no version: $nginx_version"
  oldest=$(printf '%s\n' 1.25.1 "${BASH_REMATCH[1]}" | sort --version-sort | sed -n 1p)
  if [[ $oldest == 1.25.1 ]]; then
    text=$(sed 's/^\( *\)\(listen .*\) ssl http2;$/\1\2 ssl;/; s/^\( *\)ssl_certificate .*/&\n\1http2 on;/' <<<"$text")
  fi
  printf '%s\n' "$text"
}

# --- the users -----------------------------------------------------------------------------------------------------

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

declare -A stored=() # user to hash, as in the file

# read_users: fills 'stored', and names who stands in the file twice; nginx takes the first.
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

# Each user's line in the file must be made from the user's password; nobody else may stand there.
check_users() {
  local user right
  if [[ ! -f $users_file ]]; then
    problem "$users_file is missing"
    return
  fi
  check_access "$users_file" root:www-data 0640
  read_users
  for user in "${!users[@]}"; do
    if [[ -z ${stored[$user]:-} ]]; then
      problem "user $user is missing"
      continue
    fi
    right=$(is_hash_of "${stored[$user]}" "${users[$user]}")
    [[ -n $right ]] || problem "user $user has another password"
  done
  for user in "${!stored[@]}"; do
    [[ -n ${users[$user]:-} ]] || problem "user $user may enter, but is not in the configuration"
  done
}

# A right line keeps its salt, so that a file that is right is left alone.
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

# --- the site ------------------------------------------------------------------------------------------------------

# The distribution's own page would answer for every name that is not ours, and tells nginx's version. One that somebody
# has edited is a site like any other.
default_page_is_on() {
  local conffiles code=0 sum
  [[ -L $default_link && -f $default_link ]] || return 0
  conffiles=$(dpkg-query --show --showformat='${Conffiles}\n' nginx-common 2>&1) || code=$?
  case $code:$conffiles in
    0:*) ;;
    1:*'no packages found'*) return 0 ;; # nginx is not the distribution's
    *) fail "dpkg-query exited $code: $conffiles" ;;
  esac
  sum=$(md5sum <"$default_link")
  [[ "$conffiles"$'\n' != *" /etc/nginx/sites-available/default ${sum%% *}"[[:space:]]* ]] || echo yes
}

check_files() {
  local default text target=
  default=$(default_page_is_on)
  [[ -z $default ]] || problem "nginx's own default page is on"
  [[ ! -e $site_before ]] || problem "a change of $site_file was cut off"
  text=$(site_here)
  check_file "$site_file" root:root 0644 "$text"
  [[ ! -L $site_link ]] || target=$(readlink "$site_link")
  [[ $target == "$site_file" ]] || problem "$site_link does not lead to $site_file"
  check_users
}

# answer_to [USER PASSWORD]: HTTP status of an API request through nginx, with these credentials; 000 when there is no
# answer. With TLS, nothing but the very certificate in the file is accepted.
answer_to() {
  local answer code=0 credentials=
  [[ $# == 0 ]] || printf -v credentials 'user = "%s:%s"' "$1" "$2"
  answer=$(curl --silent --noproxy '*' --max-time 20 --config - --output /dev/null --write-out '%{http_code}' \
    --connect-to "::127.0.0.1:$port" --cacert "$certificate_file" \
    --header 'Content-Type: application/json' --data '{"max_results": 1}' \
    "$uri/api/2.0/mlflow/experiments/search" <<<"$credentials") || code=$?
  [[ $answer =~ ^[0-9]{3}$ ]] || fail "curl exited $code and told no answer"
  echo "$answer"
}

check_answers() {
  local user answer
  answer=$(answer_to)
  [[ $answer == 401 ]] || problem "a request without a password is answered with $answer, not with 401"
  for user in "${!users[@]}"; do
    answer=$(answer_to "$user" "${users[$user]}")
    [[ $answer == 200 ]] || problem "a request of user $user is answered with $answer, not with 200"
  done
}

check() {
  local missing files refusal at_boot active has_read stale
  missing=$(check_programs nginx openssl curl)
  if [[ -n $missing ]]; then
    problem "$missing"
    return
  fi
  files=$(check_files)
  [[ -z $files ]] || problem "$files"
  refusal=$(nginx_refusal)
  [[ -z $refusal ]] || problem "nginx refuses its configuration as it is on disk; 'nginx -t' tells why"
  at_boot=$(starts_at_boot nginx.service)
  [[ -n $at_boot ]] || problem "nginx does not start at boot"
  active=$(is_active nginx.service)
  if [[ -z $active ]]; then
    problem "nginx does not run"
    return
  fi
  has_read=$(nginx_has_read "$site_file" "$site_link")
  [[ -n $has_read ]] || problem "nginx has not read $site_file as it is now"
  stale=$(drain_flag_is_stale)
  [[ -z $stale ]] || problem "a reload of nginx was cut off, clients keep no connection"
  # With wrong files the answers say nothing new.
  [[ -n $files ]] || check_answers
}

# keep_site: a copy of all that put_site may change, whole or not at all.
keep_site() {
  local name part
  rm -rf "$site_before.partial"
  mkdir "$site_before.partial"
  for name in "${!site_parts[@]}"; do
    part=${site_parts[$name]}
    [[ ! -e $part && ! -L $part ]] || cp --archive "$part" "$site_before.partial/$name"
  done
  mv -T "$site_before.partial" "$site_before"
}

# forget_site: from its first command on, what is in place stays.
forget_site() {
  mv -T "$site_before" "$site_before.partial"
  rm -rf "$site_before.partial"
}

# restore_site: as it was before a change that was not finished, to the time of each file. It can be cut off anywhere
# and begun anew; nginx sees no part that is half there.
restore_site() {
  local name kept
  [[ -e $site_before ]] || return 0
  for name in "${!site_parts[@]}"; do
    kept=$site_before/$name
    if [[ -e $kept || -L $kept ]]; then
      rm -rf "$site_before/next"
      cp --archive "$kept" "$site_before/next"
      mv -T "$site_before/next" "${site_parts[$name]}"
    else
      rm -f "${site_parts[$name]}"
    fi
  done
  forget_site
}

# What nginx refuses must not stay: its next start would fail, and with it the other sites. A change that is cut off is
# undone by the next run, and then made again.
put_site() {
  local text target='' default refusal
  text=$(site_here)
  restore_site
  keep_site
  at_exit restore_site
  write_file "$site_file" root:root 0644 "$text"
  [[ ! -L $site_link ]] || target=$(readlink "$site_link")
  if [[ $target != "$site_file" ]]; then
    ln -s "$site_file" "$site_before/next"
    mv -T "$site_before/next" "$site_link"
  fi
  default=$(default_page_is_on)
  if [[ -n $default ]]; then
    rm "$default_link"
    touch "$site_file" # what is gone has no time by which nginx could be seen to have read it
  fi
  refusal=$(nginx_refusal)
  if [[ -n $refusal ]]; then
    exit_command_now
    fail "nginx refuses its configuration, the site is as it was before: $refusal"
  fi
  forget_site
}

start_nginx() {
  say "starting nginx"
  systemctl restart nginx.service >>"$log_file" 2>&1 || {
    journalctl --unit nginx.service --lines 5 --no-pager --output cat >&2
    fail "nginx does not start; above is what it says"
  }
  wait_until 30 "nginx has no workers 30 s after its start; see 'journalctl -u nginx' on the host" nginx_has_read
}

apply() {
  local content active has_read stale
  content=$(render_users)
  write_file "$users_file" root:www-data 0640 "$content"
  put_site
  logged "enabling nginx" systemctl enable nginx.service
  active=$(is_active nginx.service)
  stale=$(drain_flag_is_stale)
  if [[ -z $active ]]; then
    [[ -z $stale ]] || rm -f "$drain_file"
    start_nginx
    return
  fi
  has_read=$(nginx_has_read "$site_file" "$site_link")
  [[ -n $has_read && -z $stale ]] || reload_nginx "$site_file" "$site_link"
}

remove() {
  rm -f "$site_link" "$site_file" "$users_file"
  rm -f "$site_file".mlflow-vps.?????? "$users_file".mlflow-vps.?????? # of a run that was killed
  rm -rf "$site_before" "$site_before.partial"
  reload_nginx
}
