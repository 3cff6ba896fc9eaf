# shellcheck shell=bash
# The ports on which this host accepts SSH: they must stay open.

# parent_of PROCESS
parent_of() {
  sed -n 's/^PPid:\t//p' "/proc/$1/status" || fail "process $1 ended while it was examined; run again"
}

# SSH_CONNECTION of this run, its two addresses and ports; nothing without one. sudo has dropped it from our environment,
# but not from its own.
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
