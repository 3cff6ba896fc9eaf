# shellcheck shell=bash
# Our site among those of nginx: put in place whole, or not at all.

readonly site_file=/etc/nginx/sites-available/mlflow-vps
readonly default_link=/etc/nginx/sites-enabled/default
declare -rA site_parts=([site]=$site_file [link]=$site_link [default]=$default_link)
readonly site_before=/etc/nginx/mlflow-vps.before # how it was, as long as another site is being tried

# nginx_has_ipv6: whether the kernel has it, and nginx's unit may use it.
nginx_has_ipv6() {
  local families
  [[ -e /proc/net/if_inet6 ]] || return 0
  families=$(unit_property nginx.service RestrictAddressFamilies)
  case "$families " in
    '~'*AF_INET6' '*) ;;
    ' ' | '~'* | *AF_INET6' '*) echo yes ;;
  esac
}

# The site for this host: without IPv6 nginx would refuse to start, and from 1.25.1 on HTTP/2 has a directive of its
# own.
site_here() {
  local text=$site ipv6 nginx_version
  ipv6=$(nginx_has_ipv6)
  [[ -n $ipv6 ]] || text=$(grep -v 'listen \[::\]' <<<"$text")
  nginx_version=$(nginx -v 2>&1)
  [[ $nginx_version =~ /([0-9]+)\.([0-9]+)(\.([0-9]+))? ]] || fail "nginx -v shows no version: $nginx_version"
  if ((BASH_REMATCH[1] * 1000000 + BASH_REMATCH[2] * 1000 + ${BASH_REMATCH[4]:-0} >= 1025001)); then
    text=$(sed 's/^\( *\)\(listen .*\) ssl http2;$/\1\2 ssl;/; s/^\( *\)ssl_certificate .*/&\n\1http2 on;/' <<<"$text")
  fi
  printf '%s\n' "$text"
}

# The distribution's own page would answer for every name that is not ours, and shows nginx's version. One that somebody
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

check_site() {
  local default text target=
  default=$(default_page_is_on)
  [[ -z $default ]] || problem "nginx's default page is enabled"
  [[ ! -e $site_before ]] || problem "a change of $site_file was interrupted"
  text=$(site_here)
  check_file "$site_file" root:root 0644 "$text"
  [[ ! -L $site_link ]] || target=$(readlink "$site_link")
  [[ $target == "$site_file" ]] || problem "$site_link does not lead to $site_file"
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

# forget_site: from its first command on, the new site is final.
forget_site() {
  mv -T "$site_before" "$site_before.partial"
  rm -rf "$site_before.partial"
}

# restore_site: undoes an unfinished change, including the times of the files. It can be interrupted anywhere and started
# again; nginx never sees half a file.
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

# lua_remedy REFUSAL: how nginx gets its Lua module back, which its package does not link again; nothing for another refusal.
lua_remedy() {
  local included
  [[ $1 == *'unknown directive "'*'_by_lua'* || $1 == *'unknown directive "lua_'* ]] || return 0
  included=$(found -E '^[^#]*include[[:space:]]+[^;#]*modules-enabled/' /etc/nginx/nginx.conf)
  if [[ -z $included ]]; then
    echo "nginx lacks its Lua module: make 'include /etc/nginx/modules-enabled/*.conf;' the first line of /etc/nginx/nginx.conf"
  else
    echo "nginx lacks its Lua module: 'ln -s /usr/share/nginx/modules-available/mod-http-lua.conf /etc/nginx/modules-enabled/50-mod-http-lua.conf' on the host brings it back"
  fi
}

# What nginx rejects must not stay: its next start would fail, and with it the other sites. An interrupted change is
# undone by the next run, and then made again.
put_site() {
  local text target='' default refusal remedy
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
    remedy=$(lua_remedy "$refusal")
    exit_command_now
    fail "nginx rejects its configuration, the site was restored: $refusal${remedy:+; $remedy}"
  fi
  refusal=$(check_loaded)
  if [[ -n $refusal ]]; then
    exit_command_now
    fail "$refusal, then run again; the site was restored"
  fi
  forget_site
}
