# shellcheck shell=bash
# Rules that a new SSH connection has confirmed.

readonly unit_file=/etc/systemd/system/mlflow-firewall.service

check_kept() {
  local wanted outdated at_boot active on_trial
  wanted=$(wanted_rules)
  check_file "$rules_file" root:root 0644 "$wanted"
  check_file "$unit_file" root:root 0644 "$unit"
  outdated=$(unit_property mlflow-firewall.service NeedDaemonReload)
  [[ $outdated == no ]] || problem "systemd has not loaded the current mlflow-firewall.service"
  at_boot=$(starts_at_boot mlflow-firewall.service)
  [[ -n $at_boot ]] || problem "mlflow-firewall.service does not start at boot"
  active=$(is_active mlflow-firewall.service)
  [[ -n $active ]] || problem "mlflow-firewall.service is not active"
  on_trial=$(is_active "$rollback.timer")
  [[ -z $on_trial ]] || problem "the firewall is on trial and will be rolled back"
}

apply_kept() {
  local wanted wrong
  wanted=$(wanted_rules)
  wrong=$(check_in_force "$wanted")
  if [[ -z $wrong ]]; then
    disarm
    wrong=$(check_in_force "$wanted") # the timer may have run out while it was being stopped
  fi
  [[ -z $wrong ]] ||
    fail "the rules on trial are no longer in force: no new SSH connection came within $rollback_seconds s, so they were rolled back ('journalctl -u $rollback' on the host), or somebody changed them; see what blocks new connections, then run 'pulumi up --refresh'"
  write_file "$rules_file" root:root 0644 "$wanted"
  write_file "$unit_file" root:root 0644 "$unit"
  systemctl daemon-reload
  logged "enabling mlflow-firewall.service" systemctl enable mlflow-firewall.service
  logged "starting mlflow-firewall.service" systemctl start mlflow-firewall.service
}
