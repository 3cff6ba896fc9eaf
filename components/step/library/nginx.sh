# shellcheck shell=bash
# nginx, and whether it has read its files.

readonly site_link=/etc/nginx/sites-enabled/mlflow-vps # our site, as nginx finds it

# nginx_workers: the processes that take requests; nothing when nginx is not running.
nginx_workers() {
  local nginx children
  local -a processes=()
  nginx=$(unit_property nginx.service MainPID)
  children=/proc/$nginx/task/$nginx/children
  { mapfile -t processes <"$children"; } 2>/dev/null || [[ ! -d ${children%/*} ]] || fail "cannot read $children"
  printf '%s\n' "${processes[*]}"
}

# nginx_has_read FILE...: whether all workers started after the last change of the files, for they read the configuration
# when they start; those that only finish their last requests do not count. Without workers, the answer is no.
nginx_has_read() {
  local processes worker command outdated oldest='' start=0
  local -a fields
  processes=$(nginx_workers)
  for worker in $processes; do
    command=$(command_line_of "$worker")
    [[ $command != *'is shutting down'* ]] || continue
    read_stat "$worker"
    [[ -n ${fields[19]:-} ]] || continue # it has ended
    if [[ -z $oldest ]] || ((fields[19] < start)); then oldest=$worker start=${fields[19]}; fi
  done
  [[ -n $oldest ]] || return 0
  outdated=$(older_than "$oldest" "$@")
  [[ -n $outdated ]] || echo yes
}

# nginx_is_current FILE...: whether nginx, where it runs, has read the files as they are now.
nginx_is_current() {
  local active
  active=$(is_active nginx.service)
  if [[ -n $active ]]; then nginx_has_read "$@"; else echo yes; fi
}

# outgoing_workers: those that still answer requests from before a reload.
outgoing_workers() {
  local processes worker command
  processes=$(nginx_workers)
  for worker in $processes; do
    command=$(command_line_of "$worker")
    [[ $command != *'is shutting down'* ]] || echo "$worker"
  done
}

# nginx_refusal: nginx's error about its configuration on disk; nothing when it accepts it.
nginx_refusal() {
  local output code=0
  output=$(nginx -t -q 2>&1) || code=$?
  ((code == 0)) || printf '%s\n' "${output:-nginx -t exited $code}"
}
