# shellcheck shell=bash
# --- nginx ---------------------------------------------------------------------------------------------------------

readonly site_link=/etc/nginx/sites-enabled/mlflow-vps # our site, as nginx finds it
readonly reload_lock=$run_directory/reload             # held from before the drain flag is set until it is gone

# nginx_workers: the processes that take requests; nothing when nginx is not running.
nginx_workers() {
  local nginx children
  nginx=$(unit_property nginx.service MainPID)
  children=/proc/$nginx/task/$nginx/children
  { cat "$children"; } 2>/dev/null || [[ ! -d ${children%/*} ]] || fail "cannot read $children"
}

# nginx_has_read FILE...: whether all workers started after the files came to be as they are now, for that is when they
# took up the configuration; those that only finish their last requests do not count. Without workers, nothing has.
nginx_has_read() {
  local processes worker command outdated
  processes=$(nginx_workers)
  [[ -n $processes ]] || return 0
  for worker in $processes; do
    command=$(command_line_of "$worker")
    [[ $command != *'is shutting down'* ]] || continue
    outdated=$(older_than "$worker" "$@")
    [[ -z $outdated ]] || return 0
  done
  echo yes
}

# nginx_is_current FILE...: whether nginx, where it runs, has read the files as they are now.
nginx_is_current() {
  local active
  active=$(is_active nginx.service)
  if [[ -n $active ]]; then nginx_has_read "$@"; else echo yes; fi
}

# outgoing_workers: those that read and answer the last requests from before a reload.
outgoing_workers() {
  local processes worker command
  processes=$(nginx_workers)
  for worker in $processes; do
    command=$(command_line_of "$worker")
    [[ $command != *'is shutting down'* ]] || echo "$worker"
  done
}

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

# reload_nginx [FILE...]: has a running nginx take up its configuration, with these files, without dropping a request. One
# at a time, steps and certbot's hook alike: the end of one reload would end what the other has asked of the clients.
reload_nginx() {
  local active others open tries
  active=$(is_active nginx.service)
  [[ -n $active ]] || return 0
  install -d -m 0755 "$run_directory"
  exec 8>"$reload_lock"
  if ! flock --timeout 300 8; then
    others=$(holders "$reload_lock")
    fail "cannot lock $reload_lock within 5 minutes${others:+: another reload of nginx is in progress ($others)}; run again when it has ended"
  fi
  # nginx ends idle connections at once, also under a request that is already on its way; so clients are asked to end
  # theirs before (see the site). A flag that is there already was left by a run that was killed.
  at_exit rm -f "$drain_file"
  if [[ -e $site_link ]]; then
    : >"$drain_file"
    # Those that are idle have 3 s to notice, for nothing tells when they have. What connects now ends with its first answer.
    for ((tries = 30; tries > 0; tries--)); do
      open=$(client_connections)
      ((open > 0)) || break
      sleep 0.1
    done
  fi
  touch "$reload_lock"
  logged "reloading nginx" systemctl reload nginx.service
  # A reload returns before the new workers are there.
  wait_until 30 "nginx did not take up its configuration in 30 s; see 'journalctl -u nginx' on the host" nginx_has_read "$reload_lock" "$@"
  # Before the lock: after it, the flag may be another's.
  exit_command_now
  exec 8>&-
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

# nginx_refusal: what nginx says against its configuration as it is on disk; nothing when it takes it.
nginx_refusal() {
  local output code=0
  output=$(nginx -t -q 2>&1) || code=$?
  ((code == 0)) || printf '%s\n' "${output:-nginx -t exited $code}"
}
