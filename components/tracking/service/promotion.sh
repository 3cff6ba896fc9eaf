# shellcheck shell=bash
# Promoting an instance: nginx sends to it, it starts at boot, and the others are drained.

# Whether nginx runs with a site of ours.
nginx_serves() {
  local active
  active=$(is_active nginx.service)
  [[ -z $active || ! -e $site_link ]] || echo yes
}

# What nginx makes of our files: 'ready' to load them; 'stuck' when it rejects its configuration and goes on with the
# previous instance until that is fixed. Nothing when it is not running or has no site of ours: that is the proxy step's.
nginx_state() {
  local serves refusal
  serves=$(nginx_serves)
  [[ -n $serves ]] || return 0
  refusal=$(nginx_refusal)
  if [[ -z $refusal ]]; then echo ready; else echo stuck; fi
}

# check_promotion INSTANCE: that it, and no other, is used by nginx and starts at boot. While nginx rejects its
# configuration, the rest of a promotion waits for that.
check_promotion() {
  local text wrong state=
  text=$(upstream_to "$1")
  check_file "$upstream_file" root:root 0644 "$text"
  [[ -L $boot_directory/mlflow@$1.service ]] || problem "mlflow@$1.service does not start at boot"
  wrong=$(check_use "$1")
  [[ -z $wrong ]] || state=$(nginx_state)
  [[ -z $wrong || $state == stuck ]] || problem "$wrong"
}

# check_use INSTANCE: that nginx has read who serves, and that no other instance does anything.
check_use() {
  local serves read others instance busy active runner suspended
  runner=$(job_runner_of "$1")
  suspended=$(is_suspended "${runner:-none}")
  [[ -z $suspended ]] || problem "the job runner of mlflow@$1.service is suspended"
  serves=$(nginx_serves)
  if [[ -n $serves ]]; then
    read=$(nginx_has_read "$upstream_file")
    [[ -n $read ]] || problem "nginx has not loaded the current $upstream_file"
  fi
  others=$(other_instances "$1")
  for instance in $others; do
    busy=$(was_left_running "$instance")
    active=$(unit_property "mlflow@$instance.service" ActiveState)
    if [[ $active == inactive && ! -L $boot_directory/mlflow@$instance.service ]]; then
      problem "mlflow@$instance.service is not used, but its files are still there"
    elif [[ -z $busy ]]; then
      problem "mlflow@$instance.service runs or starts at boot, but nginx does not use it"
    fi
  done
}

# promote INSTANCE: nginx sends to it from now on, and it starts at boot; then the others are stopped.
promote() {
  local text state read others instance busy seconds=$header_seconds
  # In this order, so that a reboot in between leaves nginx with an instance that starts.
  logged "enabling mlflow@$1.service" systemctl enable --force "mlflow@$1.service"
  # Workers of nginx that do not know it need the others for as long as they read requests.
  text=$(content_of "$upstream_file")
  [[ $text == *":$1 "* ]] || seconds=$drain_seconds
  text=$(upstream_to "$1")
  write_file "$upstream_file" root:root 0644 "$text"
  state=$(nginx_state)
  if [[ $state == ready ]]; then
    read=$(nginx_has_read "$upstream_file")
    [[ -n $read ]] || reload_nginx "$upstream_file"
  elif [[ $state == stuck ]]; then
    say "nginx rejects its configuration, so mlflow@$1.service takes over with the next up"
    return 0
  fi
  others=$(other_instances "$1")
  for instance in $others; do
    busy=$(was_left_running "$instance")
    [[ -n $busy ]] || drain_instance "$instance" "$seconds"
  done
  signal_job_runner "$1" CONT
}
