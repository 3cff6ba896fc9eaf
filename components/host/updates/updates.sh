# shellcheck shell=bash
# Security updates by unattended-upgrades, at one time of the day. The distribution's files decide which ones.

readonly timer=apt-daily-upgrade.timer # installs; apt-daily.timer only fetches, at any hour
readonly units=(apt-daily.timer apt-daily.service "$timer" apt-daily-upgrade.service)
# Of several files the last one decides.
readonly settings_file=/etc/apt/apt.conf.d/zz-mlflow-vps
readonly schedule_file=/etc/systemd/system/$timer.d/zz-mlflow-vps.conf
readonly stamp_file=/var/lib/systemd/timers/stamp-$timer

check_settings() {
  local wrong line in_force
  wrong=$(check_file "$settings_file" root:root 0644 "$apt_settings")
  if [[ -n $wrong ]]; then
    problem "$wrong"
    return
  fi
  in_force=$(apt-config dump)
  while read -r line; do
    [[ $line == '#'* || $'\n'$in_force$'\n' == *$'\n'"$line"$'\n'* ]] ||
      problem "apt does not apply '$line' ('apt-config dump' shows what it applies)"
  done <<<"$apt_settings"
}

# What systemd goes by, whichever files say it.
schedule_in_force() {
  systemctl show --property TimersCalendar,RandomizedDelayUSec,Persistent "$timer" |
    sed 's/ ; next_elapse=.*//' | sort | paste -sd ' '
}

check_schedule() {
  local in_force active
  check_file "$schedule_file" root:root 0644 "$schedule"
  in_force=$(schedule_in_force)
  [[ $in_force == "Persistent=no RandomizedDelayUSec=0 TimersCalendar={ OnCalendar=*-*-* $time:00" ]] ||
    problem "$timer is not scheduled for $time alone ('systemctl cat $timer' shows why)"
  active=$(is_active "$timer")
  [[ -n $active ]] || problem "$timer is not running"
}

check() {
  local unit active enabled state
  local -A properties=()
  remember_units ActiveState,UnitFileState "${units[@]}"
  check_settings
  check_schedule
  active=$(is_active apt-daily.timer)
  [[ -n $active ]] || problem "apt-daily.timer is not running"
  for unit in "${units[@]}"; do
    # A service that a timer starts is 'static'.
    enabled=$(starts_at_boot "$unit")
    [[ -z $enabled ]] || continue
    state=$(unit_property "$unit" UnitFileState)
    problem "$unit is ${state:-missing}"
  done
}

# Arms the timer for the next $time and for nothing before. systemd counts from the timer's last run, or else its last
# start, and makes up at once for an hour that lies in between: after a change of the hour, packages would be upgraded
# right now. A persistent timer takes from its stamp that it has just run.
start_timer() {
  rm -f "$schedule_file.removed" # of a removal that was interrupted
  logged "stopping $timer" systemctl stop "$timer"
  write_file "$schedule_file" root:root 0644 "$schedule_at_start"
  systemctl daemon-reload
  touch "$stamp_file"
  logged "starting $timer" systemctl start "$timer"
  write_file "$schedule_file" root:root 0644 "$schedule"
  systemctl daemon-reload
}

apply() {
  local wrong zone
  write_file "$settings_file" root:root 0644 "$apt_settings"
  logged "unmasking ${units[*]}" systemctl unmask "${units[@]}"
  wrong=$(check_schedule)
  [[ -z $wrong ]] || start_timer
  logged "enabling apt-daily.timer and $timer" systemctl enable apt-daily.timer "$timer"
  logged "starting apt-daily.timer" systemctl start apt-daily.timer
  zone=$(date +%Z)
  say "security updates are installed each day at $time ($zone)"
}

# The distribution's timer is persistent, and its stamp is from before ours took over. Our schedule is only renamed, to what
# systemd does not read, until the timer runs again, so that an interrupted run can be resumed.
remove() {
  local state
  rm -f "$settings_file"
  [[ ! -e $schedule_file ]] || mv "$schedule_file" "$schedule_file.removed"
  if [[ -e $schedule_file.removed ]]; then
    logged "stopping $timer" systemctl stop "$timer"
    systemctl daemon-reload
    touch "$stamp_file"
    state=$(unit_property "$timer" LoadState)
    if [[ $state == masked ]]; then
      say "$timer is masked, so it stays off"
    else
      logged "starting $timer" systemctl start "$timer"
    fi
    rm "$schedule_file.removed"
  fi
  [[ ! -d ${schedule_file%/*} ]] || rmdir --ignore-fail-on-non-empty "${schedule_file%/*}"
  say "the package unattended-upgrades stays; the distribution's files in /etc/apt/apt.conf.d decide what it does"
}
