# shellcheck shell=bash
# shellcheck disable=SC2154 # the values and the library stand before this text
# The site on nginx, with the users who may enter. Other sites on the same nginx are left alone.

readonly site_file=/etc/nginx/sites-available/mlflow-vps
readonly default_link=/etc/nginx/sites-enabled/default

# The site as it fits this host: without IPv6 nginx would refuse to start, and from 1.25.1 on HTTP/2 is asked for in
# another way.
site_here() {
  local text=$site nginx_version
  [[ -e /proc/net/if_inet6 ]] || text=$(grep -v 'listen \[::\]' <<<"$text")
  nginx_version=$(nginx -v 2>&1 | sed 's|.*/\([0-9.]*\).*|\1|')
  if [[ $(printf '%s\n' 1.25.1 "$nginx_version" | sort --version-sort | head -n 1) == 1.25.1 ]]; then
    text=$(sed 's/^\( *\)\(listen .*\) ssl http2;$/\1\2 ssl;/; s/^\( *\)ssl_certificate .*/&\n\1http2 on;/' <<<"$text")
  fi
  printf '%s\n' "$text"
}

# hash_of PASSWORD SALT: salted SHA-1, which nginx computes for every request: the passwords are random, 190 bits, so
# there is nothing to guess that a slow hash would slow down.
hash_of() {
  printf '{SSHA}%s' "$({ printf '%s%s' "$1" "$2" | openssl dgst -sha1 -binary && printf '%s' "$2"; } | base64 --wrap=0)"
}

# stored_hash USER: what the file holds for the user; nothing when there is none.
stored_hash() {
  awk -F : -v user="$1" '$1 == user { print $2; exit }' "$users_file" 2>/dev/null || true
}

# is_hash_of HASH PASSWORD: the salt is what stands behind the 20 bytes of SHA-1.
is_hash_of() {
  [[ $1 == '{SSHA}'* && $(hash_of "$2" "$({ base64 --decode <<<"${1#'{SSHA}'}" 2>/dev/null || true; } | tail -c +21 | tr -d '\0')") == "$1" ]]
}

# Each user's line in the file must be made from the user's password; nobody else may stand there.
check_users() {
  local user hash name
  if [[ ! -f $users_file ]]; then
    problem "$users_file is missing"
    return
  fi
  check_access "$users_file" root:www-data 0640
  for user in "${!users[@]}"; do
    hash=$(stored_hash "$user")
    if [[ -z $hash ]]; then
      problem "user $user is missing"
    elif ! is_hash_of "$hash" "${users[$user]}"; then
      problem "user $user has another password"
    fi
  done
  while IFS=: read -r name _ || [[ -n $name ]]; do
    [[ $name == '#'* || -z $name || -n ${users[$name]:-} ]] || problem "user $name may enter, but is not in the configuration"
  done <"$users_file"
  [[ -z $(cut -d : -f 1 "$users_file" | grep -v '^#' | sort | uniq --repeated) ]] || problem "$users_file names a user twice"
}

# The distribution's own page would answer for every name that is not ours, and tells nginx's version. One that somebody
# has edited is a site like any other.
default_page_is_on() {
  local packaged
  [[ -L $default_link ]] || return
  packaged=$(dpkg-query --show --showformat='${Conffiles}\n' nginx-common 2>/dev/null | awk '$1 == "/etc/nginx/sites-available/default" { print $2 }')
  [[ $(md5sum "$default_link" 2>/dev/null | cut -d ' ' -f 1) == "$packaged" ]]
}

# Left behind by a reload that was killed: every connection ends after one answer.
drains_for_ever() { [[ -n $(find "$drain_file" -mmin +2 2>/dev/null || true) ]]; }

check_files() {
  ! default_page_is_on || problem "nginx's own default page is on"
  check_file "$site_file" root:root 0644 "$(site_here)"
  [[ $(readlink "$site_link") == "$site_file" ]] || problem "$site_link does not lead to $site_file"
  check_users
}

# status [USER PASSWORD]: HTTP status of an API request through nginx, with these credentials. With TLS, nothing but the
# very certificate in the file is accepted.
status() {
  { [[ $# == 0 ]] || printf 'user = "%s:%s"\n' "$1" "$2"; } |
    curl --silent --noproxy '*' --max-time 20 --config - --output /dev/null --write-out '%{http_code}' \
      --connect-to "::127.0.0.1:$port" --cacert "$certificate_file" \
      --header 'Content-Type: application/json' --data '{"max_results": 1}' "$uri/api/2.0/mlflow/experiments/search" || true
}

check_answers() {
  local user answer
  answer=$(status)
  [[ $answer == 401 ]] || problem "a request without a password is answered with $answer, not with 401"
  for user in "${!users[@]}"; do
    answer=$(status "$user" "${users[$user]}")
    [[ $answer == 200 ]] || problem "a request of user $user is answered with $answer, not with 200"
  done
}

check() {
  local files
  files=$(check_files)
  [[ -z $files ]] || problem "$files"
  nginx -t -q 2>/dev/null || problem "nginx refuses its configuration as it is on disk; 'nginx -t' tells why"
  systemctl is-enabled --quiet nginx.service 2>/dev/null || problem "nginx does not start at boot"
  if ! systemctl is-active --quiet nginx.service; then
    problem "nginx does not run"
    return
  fi
  nginx_has_read "$site_file" "$site_link" || problem "nginx has not read $site_file as it is now"
  ! drains_for_ever || problem "a reload of nginx was cut off, clients keep no connection"
  # With wrong files the answers say nothing new.
  [[ -n $files ]] || check_answers
}

# A right line keeps its salt, so that a file that is right is left alone.
render_users() {
  local user hash
  printf '%s\n' "$managed"
  for user in $(printf '%s\n' "${!users[@]}" | sort); do
    hash=$(stored_hash "$user")
    { [[ -n $hash ]] && is_hash_of "$hash" "${users[$user]}"; } ||
      hash=$(hash_of "${users[$user]}" "$(openssl rand -hex 8)")
    printf '%s:%s\n' "$user" "$hash"
  done
}

# What nginx refuses must not stay: its next start would fail, and with it the other sites.
put_site() {
  local text_before link_before refusal default_before=''
  text_before=$(cat "$site_file" 2>/dev/null || true)
  link_before=$(readlink "$site_link" || true)
  write_file "$site_file" root:root 0644 "$(site_here)"
  [[ $link_before == "$site_file" ]] || ln -sfn "$site_file" "$site_link"
  if default_page_is_on; then
    default_before=$(readlink "$default_link")
    rm "$default_link"
    touch "$site_file" # what is gone has no time by which nginx could be seen to have read it
  fi
  refusal=$(nginx -t -q 2>&1) && return
  if [[ -n $text_before ]]; then printf '%s\n' "$text_before" >"$site_file"; else rm -f "$site_file"; fi
  [[ -z $default_before ]] || ln -sfn "$default_before" "$default_link"
  if [[ -n $link_before ]]; then ln -sfn "$link_before" "$site_link"; else rm -f "$site_link"; fi
  fail "nginx refuses its configuration, the site is as it was before: $refusal"
}

start_nginx() {
  say "starting nginx"
  systemctl restart nginx.service >>"$log_file" 2>&1 || {
    journalctl --unit nginx.service --lines 5 --no-pager --output cat >&2
    fail "nginx does not start; above is what it says"
  }
}

apply() {
  write_file "$users_file" root:www-data 0640 "$(render_users)"
  put_site
  logged "enabling nginx" systemctl enable nginx.service
  if ! systemctl is-active --quiet nginx.service; then
    start_nginx
  elif ! nginx_has_read "$site_file" "$site_link" || drains_for_ever; then
    reload_nginx "$site_file" "$site_link"
  fi
}

remove() {
  rm -f "$site_link" "$site_file" "$users_file"
  reload_nginx "$site_file"
}
