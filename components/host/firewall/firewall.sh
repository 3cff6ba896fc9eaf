# shellcheck shell=bash
# Opens SSH and the server's ports only. The phase 'trial' puts the rules in force and arms a timer that rolls them back;
# the phase 'kept' comes by another SSH connection, which proves that one is possible, stops the timer and stores them.

check() {
  case $phase in trial) check_trial ;; kept) check_kept ;; esac
}

apply() {
  case $phase in trial) apply_trial ;; kept) apply_kept ;; esac
}

# Runs for both phases, 'kept' first.
remove() {
  disarm
  [[ ! -e $unit_file ]] || logged "stopping mlflow-firewall.service" systemctl disable --now mlflow-firewall.service
  rm -f "$unit_file" "$rules_file"
  rm -f "$unit_file".mlflow-vps.?????? "$rules_file".mlflow-vps.?????? # of a run that was killed
  systemctl daemon-reload
  [[ $phase == trial ]] || return 0
  if command -v nft >/dev/null; then
    nft 'table inet mlflow_vps; delete table inet mlflow_vps'
    say "mlflow-vps no longer closes any port"
  else
    say "nft is missing: the ports stay closed until the host is rebooted, or 'nft delete table inet mlflow_vps'"
  fi
}
