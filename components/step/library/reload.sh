# shellcheck shell=bash
# Reloading nginx without dropping a request.

readonly reload_lock=$run_directory/reload # held from before the drain flag is set until it is gone

# client_connections: how many are open to the ports that nginx listens on.
client_connections() {
  local nginx files held=''
  local -a tables
  nginx=$(unit_property nginx.service MainPID)
  files=/proc/$nginx/fd
  [[ ! -d $files ]] || held=$(find "$files" -lname 'socket:*' -printf '%l\n')
  socket_tables
  awk '
    /^socket:/ { gsub(/[^0-9]/, ""); held[$0] = 1; next }
    { split($2, address, ":") }
    $4 == "0A" && ($10 in held) { ports[address[2]] = 1 }
    $4 == "01" { open[address[2]]++ }
    END { for (port in ports) sum += open[port]; print sum + 0 }' - "${tables[@]}" <<<"$held"
}

# reload_nginx [FILE...]: makes a running nginx load its configuration, with these files, without dropping a request.
reload_nginx() {
  lock_reload "run again when it has ended"
  reload_locked "$@"
  exec 8>&-
}

# lock_reload REMEDY: one reload at a time, by steps and certbot's hook alike: the end of one would remove the drain flag of
# the other.
lock_reload() {
  local others
  install -d -m 0755 "$run_directory"
  exec 8>"$reload_lock"
  if ! flock --timeout 600 8; then
    others=$(holders "$reload_lock")
    fail "cannot lock $reload_lock within 10 minutes${others:+: another reload of nginx is in progress ($others)}; $1"
  fi
}

# nginx ends idle connections at once, also under a request that is already on its way; so clients are asked to end theirs
# before (see the site). A flag that exists already was left by a run that was killed.
reload_locked() {
  local active
  active=$(is_active nginx.service)
  [[ -n $active ]] || return 0
  at_exit rm -f "$drain_file"
  [[ ! -e $site_link ]] || drain_clients
  touch "$reload_lock"
  logged "reloading nginx" systemctl reload nginx.service
  # A reload returns before the new workers are there.
  wait_until 30 "nginx did not load its configuration within 30 s; see 'journalctl -u nginx' on the host" nginx_has_read "$reload_lock" "$@"
  exit_command_now # before the lock is let go: after it, the flag may be another's
}

# Idle connections have 3 s to end, for nothing tells when they have. A new connection ends with its first answer.
drain_clients() {
  local open tries
  : >"$drain_file"
  for ((tries = 30; tries > 0; tries--)); do
    open=$(client_connections)
    ((open > 0)) || break
    sleep 0.1
  done
}

# drain_flag_is_stale: whether a reload was killed, so that every connection ends after one answer.
drain_flag_is_stale() {
  local code=0
  [[ -e $drain_file ]] || return 0
  flock --nonblock --conflict-exit-code 75 "$reload_lock" test -e "$drain_file" || code=$?
  case $code in
    0) echo yes ;;
    1 | 75) ;; # taken away meanwhile; a reload is in progress
    *) fail "flock $reload_lock exited $code" ;;
  esac
}
