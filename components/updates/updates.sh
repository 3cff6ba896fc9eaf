# shellcheck shell=bash
# shellcheck disable=SC2154 # the values and the library stand before this text
# Security updates by unattended-upgrades, at one time of the day. Which ones is for the distribution's files to say.

readonly timer=apt-daily-upgrade.timer # installs; apt-daily.timer only fetches, at any hour
readonly units=(apt-daily.timer apt-daily.service "$timer" apt-daily-upgrade.service)
# Of several files the last one decides.
readonly settings_file=/etc/apt/apt.conf.d/zz-mlflow-vps
readonly schedule_file=/etc/systemd/system/$timer.d/zz-mlflow-vps.conf
readonly stamp_file=/var/lib/systemd/timers/stamp-$timer

check_settings() {
  local wrong line
  wrong=$(check_file "$settings_file" root:root 0644 "$apt_settings")
  if [[ -n $wrong ]]; then
    problem "$wrong"
    return
  fi
  while read -r line; do
    problem "apt does not go by '$line' ('apt-config dump' shows by what)"
  done < <(grep -v '^#' <<<"$apt_settings" | grep --invert-match --line-regexp --fixed-strings --file <(apt-config dump))
}

# What systemd goes by, whichever files say it.
schedule_in_force() {
  systemctl show --property TimersCalendar,RandomizedDelayUSec,Persistent "$timer" |
    sed 's/ ; next_elapse=.*//' | sort | paste -sd ' '
}

check_schedule() {
  check_file "$schedule_file" root:root 0644 "$schedule"
  [[ $(schedule_in_force) == "Persistent=no RandomizedDelayUSec=0 TimersCalendar={ OnCalendar=*-*-* $time:00" ]] ||
    problem "$timer does not run at $time, and only then ('systemctl cat $timer' tells why)"
  systemctl is-active --quiet "$timer" || problem "$timer does not run"
}

check() {
  local unit
  check_settings
  check_schedule
  systemctl is-active --quiet apt-daily.timer || problem "apt-daily.timer does not run"
  for unit in "${units[@]}"; do
    # A service that a timer starts is 'static'.
    systemctl is-enabled --quiet "$unit" 2>/dev/null || problem "$unit is $(systemctl is-enabled "$unit" 2>&1 || true)"
  done
}

# Arms the timer for the next $time and for nothing before. systemd counts from the timer's last run, or else its last
# start, and makes up at once for an hour that lies in between: after a change of the hour, packages would be upgraded
# right now. A persistent timer takes from its stamp that it has just run.
start_timer() {
  logged "stopping $timer" systemctl stop "$timer"
  write_file "$schedule_file" root:root 0644 "$schedule_at_start"
  systemctl daemon-reload
  touch "$stamp_file"
  logged "starting $timer" systemctl start "$timer"
  write_file "$schedule_file" root:root 0644 "$schedule"
  systemctl daemon-reload
}

apply() {
  write_file "$settings_file" root:root 0644 "$apt_settings"
  logged "unmasking ${units[*]}" systemctl unmask "${units[@]}"
  [[ -z $(check_schedule) ]] || start_timer
  logged "enabling apt-daily.timer and $timer" systemctl enable apt-daily.timer "$timer"
  logged "starting apt-daily.timer" systemctl start apt-daily.timer
  say "security updates are installed each day at $time ($(date +%Z))"
}

# The distribution's timer is persistent, and its stamp is from before ours took over.
remove() {
  rm -f "$settings_file"
  if [[ -e $schedule_file ]]; then
    logged "stopping $timer" systemctl stop "$timer"
    rm -f "$schedule_file"
    rmdir --ignore-fail-on-non-empty "$(dirname "$schedule_file")"
    systemctl daemon-reload
    touch "$stamp_file"
    # Somebody may have masked it.
    systemctl start "$timer" >>"$log_file" 2>&1 || say "$timer does not start; 'systemctl status $timer' tells why"
  fi
  say "the package unattended-upgrades stays; what it does is for the distribution's files in /etc/apt/apt.conf.d to say"
}
