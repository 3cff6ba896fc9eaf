# shellcheck shell=bash
# shellcheck disable=SC2154 # the values and the library stand before this text
# Opens SSH and the server's ports only. The phase 'trial' puts the rules in force and arms a timer that takes them back;
# the phase 'kept' comes by another SSH connection, which proves that one is possible, stops the timer and stores them.

readonly unit_file=/etc/systemd/system/mlflow-firewall.service
readonly rollback=mlflow-firewall-rollback

# --- the ports of SSH ----------------------------------------------------------------------------------------------

# parent_of PROCESS
parent_of() { sed -n 's/^PPid:\t//p' "/proc/$1/status" 2>/dev/null || true; }

# What sshd told about the connection that this run came by: its two addresses and ports. sudo has dropped it from our
# environment, but not from its own.
connection() {
  local pid=$$ found=
  while [[ -z $found ]] && ((pid > 1)); do
    found=$(tr '\0' '\n' <"/proc/$pid/environ" | sed -n 's/^SSH_CONNECTION=//p')
    pid=$(parent_of "$pid")
  done
  echo "$found"
}

# Where sshd's main process listens. The ports that its children forward are not SSH's.
listeners() {
  ss -Hltnp | while read -r _ _ _ address _ holders; do
    while [[ $holders =~ \"sshd\",pid=([0-9]+) ]]; do
      holders=${holders#*"${BASH_REMATCH[0]}"}
      if [[ $(parent_of "${BASH_REMATCH[1]}") == 1 ]]; then echo "$address"; fi
    done
  done
}

# Where systemd listens on behalf of sshd.
sockets() {
  local socket
  for socket in ssh.socket sshd.socket; do
    ! systemctl is-active --quiet "$socket" || systemctl show --property Listen --value "$socket" | sed -n 's/ (Stream)$//p'
  done
}

# The port of this connection is there whatever else is not found; what listens on loopback needs no rule.
ports_of_ssh() {
  local ours
  ours=$(connection)
  {
    echo "to:${ours##* }"
    listeners
    sockets
  } | sed -n '/^127\.\|^\[::1\]/!s/.*:\([0-9]\+\)$/\1/p' | sort -nu | paste -sd , | sed 's/,/, /g'
}

# --- the rules -----------------------------------------------------------------------------------------------------

wanted_rules() {
  local found
  found=$(ports_of_ssh)
  [[ -n $found ]] || fail "finds no port on which this host takes SSH, so the firewall would lock everybody out"
  echo "${rules//SSH_PORTS/$found}"
}

kept_rules() { cat "$rules_file" 2>/dev/null || true; }

in_force() { nft list table inet mlflow_vps 2>/dev/null; }

# How this kernel and this nft list the wanted rules: a network namespace that ends with the command tries them out.
wanted_listing() {
  wanted_rules | unshare --net bash -c 'nft -f - && nft list table inet mlflow_vps'
}

check_in_force() {
  local wanted current
  wanted=$(wanted_listing)
  if ! current=$(in_force); then
    problem "the firewall is off: there is no nft table inet mlflow_vps"
    return
  fi
  diff <(echo "$wanted") <(echo "$current") |
    sed -n -e 's/^<\s*/the firewall lacks: /p' -e 's/^>\s*/the firewall has, but should not: /p' || true # diff's way to tell
}

check_trial() {
  if command -v nft >/dev/null; then check_in_force; else problem "nft is missing (package nftables)"; fi
}

check_kept() {
  check_file "$rules_file" root:root 0644 "$(wanted_rules)"
  check_file "$unit_file" root:root 0644 "$unit"
  [[ $(systemctl show --property NeedDaemonReload --value mlflow-firewall.service) == no ]] ||
    problem "systemd has not read mlflow-firewall.service as it is now"
  systemctl is-enabled --quiet mlflow-firewall.service 2>/dev/null || problem "mlflow-firewall.service does not start at boot"
  systemctl is-active --quiet mlflow-firewall.service || problem "mlflow-firewall.service is not active"
  ! systemctl is-active --quiet "$rollback.timer" || problem "the firewall is on trial and will be rolled back"
}

check() { "check_$phase"; }

# --- trial ---------------------------------------------------------------------------------------------------------

# This connection would live on, but the next one would need the tunnel's own port, which nothing here knows.
refuse_tunnel() {
  local address device
  read -r _ _ address _ <<<"$(connection)"
  [[ -n $address ]] || return 0
  device=$(ip -oneline address show to "${address%\%*}" | awk 'NR == 1 { print $2 }')
  [[ -n $device ]] && ip -oneline -details link show dev "$device" | grep --quiet ' wireguard \| tun type tun ' || return 0
  fail "SSH comes through $device, a tunnel that ends on this host, and the firewall would close the port that the tunnel needs; set host.address to an address outside of it, or firewall to false"
}

arm() {
  disarm
  logged "arming the rollback" systemd-run --quiet --collect --unit "$rollback" --on-active "$rollback_seconds" \
    --timer-property AccuracySec=100ms --description "Puts back the firewall that was kept" \
    /bin/sh -c "echo 'no new SSH connection has confirmed the firewall, putting back what was kept before'
      test -e $rules_file && /usr/sbin/nft -f $rules_file || /usr/sbin/nft delete table inet mlflow_vps"
}

disarm() { systemctl stop "$rollback.timer" "$rollback.service" 2>/dev/null || true; }

# The kernel knows the connections that were there before only when it has seen packets of them, so it looks for a
# moment before the first rules drop anything.
meet_connections() {
  nft 'add table inet mlflow_vps; add chain inet mlflow_vps input { type filter hook input priority filter; };
    add rule inet mlflow_vps input ct state established accept'
  sleep 2
}

load() {
  in_force >/dev/null || meet_connections
  wanted_rules | nft -f -
}

apply_trial() {
  # Rules that were confirmed before are what a rollback would put back.
  if [[ $(wanted_rules) == "$(kept_rules)" ]]; then
    load
    disarm
    return
  fi
  refuse_tunnel
  arm
  load
  say "the new rules are in force; they are rolled back in $rollback_seconds s unless the next connection confirms them"
}

# --- kept ----------------------------------------------------------------------------------------------------------

apply_kept() {
  # The timer may run out while it is being stopped, so this looks once more afterwards.
  { [[ -z $(check_in_force) ]] && disarm && [[ -z $(check_in_force) ]]; } ||
    fail "the rules on trial are not in force any more: no new SSH connection came in $rollback_seconds s, so they were rolled back ('journalctl -u $rollback' on the host), or somebody changed them; see what keeps new connections out, then run 'pulumi up --refresh'"
  write_file "$rules_file" root:root 0644 "$(wanted_rules)"
  write_file "$unit_file" root:root 0644 "$unit"
  systemctl daemon-reload
  logged "enabling mlflow-firewall.service" systemctl enable mlflow-firewall.service
  logged "starting mlflow-firewall.service" systemctl start mlflow-firewall.service
}

apply() { "apply_$phase"; }

# --- removal -------------------------------------------------------------------------------------------------------

# Runs for both phases, 'kept' first.
remove() {
  disarm
  [[ ! -e $unit_file ]] || logged "stopping mlflow-firewall.service" systemctl disable --now mlflow-firewall.service
  rm -f "$unit_file" "$rules_file"
  systemctl daemon-reload
  [[ $phase == trial ]] || return 0
  if command -v nft >/dev/null; then
    nft 'table inet mlflow_vps; delete table inet mlflow_vps'
    say "mlflow-vps closes no port any more"
  else
    say "nft is missing: the ports stay closed until the host is started anew, or 'nft delete table inet mlflow_vps'"
  fi
}
