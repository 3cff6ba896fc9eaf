# shellcheck shell=bash
# Rules on trial, with a timer that rolls them back.

readonly rollback=mlflow-firewall-rollback

# Rolls back to the rules that were kept before, or to none; retried until it succeeds.
arm() {
  disarm
  logged "arming the rollback" systemd-run --quiet --collect --unit "$rollback" --on-active "$rollback_seconds" \
    --timer-property AccuracySec=100ms --description "Puts back the firewall that was kept" \
    --property Restart=on-failure --property RestartSec=5 \
    /bin/sh -c "echo 'no new SSH connection has confirmed the firewall, putting back what was kept before'
      test -e $rules_file && /usr/sbin/nft -f $rules_file || /usr/sbin/nft 'table inet mlflow_vps; delete table inet mlflow_vps'"
}

disarm() {
  local part output code
  for part in "$rollback.timer" "$rollback.service"; do
    code=0
    output=$(systemctl stop "$part" 2>&1) || code=$?
    ((code == 0 || code == 5)) || fail "cannot stop $part: $output" # 5: there is none
  done
}

check_trial() {
  local wanted
  if ! command -v nft >/dev/null; then
    problem "nft is missing (package nftables)"
    return
  fi
  wanted=$(wanted_rules)
  check_in_force "$wanted"
}

apply_trial() {
  local wanted kept
  wanted=$(wanted_rules)
  kept=$(content_of "$rules_file")
  # Rules that were confirmed before are what a rollback would put back.
  if [[ $wanted == "$kept" ]]; then
    load "$wanted"
    disarm
    return
  fi
  refuse_tunnel
  arm
  load "$wanted"
  say "the new rules are in force; they are rolled back in $rollback_seconds s unless the next connection confirms them"
}
