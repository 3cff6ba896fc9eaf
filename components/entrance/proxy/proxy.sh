# shellcheck shell=bash
# The site on nginx, with its users. Other sites on the same nginx are left alone.

check_files() {
  check_site
  check_users
}

check() {
  local missing files refusal masked at_boot active has_read stale answers
  local -A properties=()
  missing=$(check_programs nginx openssl curl)
  if [[ -n $missing ]]; then
    problem "$missing"
    return
  fi
  remember_units ActiveState,MainPID,UnitFileState,RestrictAddressFamilies nginx.service
  files=$(check_files)
  [[ -z $files ]] || problem "$files"
  refusal=$(nginx_refusal)
  [[ -z $refusal ]] || problem "nginx rejects its configuration on disk; 'nginx -t' shows why"
  masked=$(check_mask)
  [[ -z $masked ]] || problem "$masked"
  at_boot=$(starts_at_boot nginx.service)
  [[ -n $at_boot || -n $masked ]] || problem "nginx does not start at boot"
  active=$(is_active nginx.service)
  if [[ -z $active ]]; then
    problem "nginx is not running"
    return
  fi
  has_read=$(nginx_has_read "$site_file" "$site_link")
  [[ -n $has_read ]] || problem "nginx has not loaded the current $site_file"
  stale=$(drain_flag_is_stale)
  [[ -z $stale ]] || problem "a reload of nginx was interrupted, no client connection is kept alive"
  # While a file is wrong, the answers tell nothing more.
  [[ -z $files ]] || return 0
  answers=$(check_answers)
  [[ -n $answers ]] || return 0
  problem "$answers"
  [[ -n $refusal ]] || obstacles
}

# check_mask: names a mask of nginx. It is somebody else's: ours is gone when the packages are there.
check_mask() {
  local state
  state=$(unit_property nginx.service UnitFileState)
  case $state in
    masked) problem "nginx is masked: 'systemctl unmask nginx' on the host lets it start" ;;
    masked-runtime) problem "nginx is masked: 'systemctl unmask --runtime nginx' on the host lets it start" ;;
  esac
}

start_nginx() {
  say "starting nginx"
  systemctl restart nginx.service >>"$log_file" 2>&1 || {
    journalctl --unit nginx.service --lines 5 --no-pager --output cat >&2
    fail "nginx does not start; its error is above"
  }
  wait_until 30 "nginx has no workers 30 s after its start; see 'journalctl -u nginx' on the host" nginx_has_read
}

# tell_obstacles: also those that the check's own requests do not meet.
tell_obstacles() {
  local lines line
  lines=$(obstacles)
  while read -r line; do
    [[ -z $line ]] || say "WARNING: $line"
  done <<<"$lines"
}

apply() {
  local masked content group active has_read stale
  masked=$(check_mask)
  [[ -z $masked ]] || fail "$masked, then run again"
  content=$(render_users)
  group=$(nginx_group)
  [[ -n $group ]] ||
    fail "/etc/nginx/nginx.conf is missing: 'apt-get install --reinstall -o Dpkg::Options::=--force-confmiss nginx-common' on the host brings it back, then run again"
  write_file "$users_file" "root:$group" 0640 "$content"
  put_site
  logged "enabling nginx" systemctl enable nginx.service
  active=$(is_active nginx.service)
  stale=$(drain_flag_is_stale)
  if [[ -z $active ]]; then
    [[ -z $stale ]] || rm -f "$drain_file"
    start_nginx
  else
    # Where the answers were wrong for something of others, they may have mended it since.
    has_read=$(nginx_has_read "$site_file" "$site_link" /etc/nginx/nginx.conf /etc/nginx/sites-enabled /etc/nginx/conf.d)
    [[ -n $has_read && -z $stale ]] || reload_nginx "$site_file" "$site_link"
  fi
  tell_obstacles
}

remove() {
  rm -f "$site_link" "$site_file" "$users_file"
  rm -f "$site_file".mlflow-vps.?????? "$users_file".mlflow-vps.?????? # of a run that was killed
  rm -rf "$site_before" "$site_before.partial"
  reload_nginx
}
