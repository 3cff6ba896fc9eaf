# shellcheck shell=bash
# Opens SSH and the server's ports only. The phase 'trial' puts the rules in force and arms a timer that takes them back;
# the phase 'kept' comes by another SSH connection, which proves that one is possible, stops the timer and stores them.

readonly unit_file=/etc/systemd/system/mlflow-firewall.service
readonly rollback=mlflow-firewall-rollback

# --- the ports of SSH ----------------------------------------------------------------------------------------------

# parent_of PROCESS
parent_of() {
  sed -n 's/^PPid:\t//p' "/proc/$1/status" || fail "process $1 ended while it was looked at; run again"
}

# What sshd told about the connection that this run came by: its two addresses and ports; nothing without one. sudo has
# dropped it from our environment, but not from its own.
connection() {
  local process=$$ environment told=
  while [[ -z $told ]] && ((process > 1)); do
    environment=$(tr '\0' '\n' <"/proc/$process/environ")
    told=$(sed -n 's/^SSH_CONNECTION=//p' <<<"$environment")
    process=$(parent_of "$process")
  done
  echo "$told"
}

# Where sshd's main process listens. The ports that its children forward are not SSH's.
daemon_listeners() {
  local table address users parent
  table=$(ss -Hltnp)
  while read -r _ _ _ address _ users; do
    while [[ $users =~ \"sshd\",pid=([0-9]+) ]]; do
      users=${users#*"${BASH_REMATCH[0]}"}
      parent=$(parent_of "${BASH_REMATCH[1]}")
      if ((parent == 1)); then echo "$address"; fi
    done
  done <<<"$table"
}

# Where systemd listens on behalf of sshd.
socket_listeners() {
  local socket active
  for socket in ssh.socket sshd.socket; do
    active=$(is_active "$socket")
    [[ -z $active ]] || unit_property "$socket" Listen | sed -n 's/ (Stream)$//p'
  done
}

# The port of this connection is there whatever else is not found; what listens on loopback needs no rule.
ports_of_ssh() {
  local ours daemons sockets
  ours=$(connection)
  daemons=$(daemon_listeners)
  sockets=$(socket_listeners)
  printf '%s\n' "to:${ours##* }" "$daemons" "$sockets" |
    sed -n '/^127\.\|^\[::1\]/!s/.*:\([0-9]\+\)$/\1/p' | sort -nu | paste -sd , | sed 's/,/, /g'
}

# --- the rules -----------------------------------------------------------------------------------------------------

wanted_rules() {
  local open
  open=$(ports_of_ssh)
  [[ $open =~ ^[0-9]+(, [0-9]+)*$ ]] ||
    fail "finds no port on which this host takes SSH, so the firewall would lock everybody out"
  echo "${rules//SSH_PORTS/$open}"
}

# in_force: our table as nft lists it; nothing when there is none.
in_force() {
  local tables
  tables=$(nft list tables)
  [[ $'\n'$tables$'\n' != *$'\ntable inet mlflow_vps\n'* ]] || nft list table inet mlflow_vps
}

# listing_of RULES: how this kernel and this nft list them; a network namespace that ends with the command tries them out.
listing_of() { unshare --net bash -c 'nft -f - && nft list table inet mlflow_vps' <<<"$1"; }

# check_in_force RULES
check_in_force() {
  local wanted current difference code=0
  wanted=$(listing_of "$1")
  current=$(in_force)
  if [[ -z $current ]]; then
    problem "the firewall is off: there is no nft table inet mlflow_vps"
    return
  fi
  [[ $current != "$wanted" ]] || return 0
  difference=$(diff /dev/fd/3 /dev/fd/4 3<<<"$wanted" 4<<<"$current") || code=$?
  ((code == 1)) || fail "diff of the firewall's rules exited $code" # 1: they differ
  sed -n -e 's/^<\s*/the firewall lacks: /p' -e 's/^>\s*/the firewall has, but should not: /p' <<<"$difference"
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

check_kept() {
  local wanted outdated at_boot active on_trial
  wanted=$(wanted_rules)
  check_file "$rules_file" root:root 0644 "$wanted"
  check_file "$unit_file" root:root 0644 "$unit"
  outdated=$(unit_property mlflow-firewall.service NeedDaemonReload)
  [[ $outdated == no ]] || problem "systemd has not read mlflow-firewall.service as it is now"
  at_boot=$(starts_at_boot mlflow-firewall.service)
  [[ -n $at_boot ]] || problem "mlflow-firewall.service does not start at boot"
  active=$(is_active mlflow-firewall.service)
  [[ -n $active ]] || problem "mlflow-firewall.service is not active"
  on_trial=$(is_active "$rollback.timer")
  [[ -z $on_trial ]] || problem "the firewall is on trial and will be rolled back"
}

check() { "check_$phase"; }

# --- trial ---------------------------------------------------------------------------------------------------------

# This connection would live on, but the next one would need the tunnel's own port, which nothing here knows.
refuse_tunnel() {
  local ours address addresses device details
  ours=$(connection)
  read -r _ _ address _ <<<"$ours"
  [[ -n $address ]] || return 0
  addresses=$(ip -oneline address show to "${address%\%*}")
  read -r _ device _ <<<"$addresses"
  [[ -n $device ]] || return 0
  details=$(ip -oneline -details link show dev "$device")
  [[ "$details " != *' wireguard '* && "$details " != *' tun type tun '* ]] ||
    fail "SSH comes through $device, a tunnel that ends on this host, and the firewall would close the port that the tunnel needs; set host.address to an address outside of it, or firewall to false"
}

# What is put back is what was kept before, or nothing; it is tried until it is.
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

# The kernel knows the connections that were there before only when it has seen packets of them, so it looks for a
# moment before the first rules drop anything.
meet_connections() {
  nft 'add table inet mlflow_vps; add chain inet mlflow_vps input { type filter hook input priority filter; };
    add rule inet mlflow_vps input ct state established accept'
  sleep 2
}

# load RULES
load() {
  local current
  current=$(in_force)
  [[ -n $current ]] || meet_connections
  nft -f - <<<"$1"
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

# --- kept ----------------------------------------------------------------------------------------------------------

apply_kept() {
  local wanted wrong
  wanted=$(wanted_rules)
  wrong=$(check_in_force "$wanted")
  if [[ -z $wrong ]]; then
    disarm
    wrong=$(check_in_force "$wanted") # the timer may have run out while it was being stopped
  fi
  [[ -z $wrong ]] ||
    fail "the rules on trial are not in force any more: no new SSH connection came in $rollback_seconds s, so they were rolled back ('journalctl -u $rollback' on the host), or somebody changed them; see what keeps new connections out, then run 'pulumi up --refresh'"
  write_file "$rules_file" root:root 0644 "$wanted"
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
  rm -f "$unit_file".mlflow-vps.?????? "$rules_file".mlflow-vps.?????? # of a run that was killed
  systemctl daemon-reload
  [[ $phase == trial ]] || return 0
  if command -v nft >/dev/null; then
    nft 'table inet mlflow_vps; delete table inet mlflow_vps'
    say "mlflow-vps closes no port any more"
  else
    say "nft is missing: the ports stay closed until the host is started anew, or 'nft delete table inet mlflow_vps'"
  fi
}
