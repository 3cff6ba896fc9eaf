# shellcheck shell=bash
# A guest's network: 10.77.N.0/24 and a network namespace. N is reserved for the guest until it is taken down.
set -euo pipefail

: "${owners_dir:?} ${lock_dir:?} ${name?} ${dir?}" # of vps.sh

lock_network() {
  exec 9>"$lock_dir/mlflow-vps-network"
  flock -w 60 9 || die "cannot get $lock_dir/mlflow-vps-network: another sandbox/vps.sh hangs"
}
unlock_network() { exec 9>&-; }

subnet_number() {
  local address
  address=$(<"$dir/address")
  [[ $address =~ ^10\.77\.([0-9]+)\.2$ ]] || die "$dir/address holds '$address', not 10.77.N.2: run 'sandbox/vps.sh down $name'"
  printf '%s' "${BASH_REMATCH[1]}"
}
# Questions print 'yes', or nothing, and fail when they cannot tell. They are asked by an assignment, for bash ignores
# failures within a function that is called in a condition.

# A plain file is what a reboot of the machine leaves where /run is on disk.
has_netns() {
  local file_system
  [[ -e /run/netns/$1 ]] || return 0
  file_system=$(stat -f -c %t "/run/netns/$1")
  [[ $file_system != 6e736673 ]] || echo yes
}

has_link() {
  local links
  links=$(ip -o link show)
  [[ ! $links =~ ": $1"[@:] ]] || echo yes
}

subnet_is_free() {
  local n=$1 netns link routes
  [[ ! -e $owners_dir/$n ]] || return 0
  netns=$(has_netns "mlflow-vps-$n")
  link=$(has_link "mlvps$n")
  routes=$(ip -4 -o route show root "10.77.$n.0/24")
  [[ -n $netns$link$routes ]] || echo yes
}

# The folder of the guest that has this network; nothing when no guest has it.
owner_of_subnet() { [[ ! -e $owners_dir/$1 ]] || cat "$owners_dir/$1"; }

# Gives the guest an address that it keeps until 'down'. Needs the network lock. 10.77.1.2 is left to the guest 'demo'.
reserve_address() {
  local n candidates owner free
  mkdir -p "$owners_dir"
  if [[ -s $dir/address ]]; then
    n=$(subnet_number)
    owner=$(owner_of_subnet "$n")
    free=$(subnet_is_free "$n")
    [[ -z $owner || $owner == "$dir" ]] ||
      die "10.77.$n.2, the address of '$name', is now used by $owner: run 'sandbox/vps.sh down $name' and 'up $name'"
    [[ -n $owner || -n $free ]] || die "10.77.$n.0/24, the network of '$name', is used by something else on this machine"
  else
    candidates=$(seq 2 254)
    [[ $name != demo ]] || candidates="1 $candidates"
    for n in $candidates; do
      # A folder that was deleted by hand leaves its network behind.
      owner=$(owner_of_subnet "$n")
      if [[ -n $owner && ! -e $owner/address ]]; then remove_network "$n"; fi
      free=$(subnet_is_free "$n")
      if [[ -n $free ]]; then break; fi
      n=
    done
    [[ -n $n ]] || die "no free network in 10.77.2.0/24 to 10.77.254.0/24: see 'ip route' and 'sandbox/vps.sh list'"
    printf '10.77.%s.2\n' "$n" >"$dir/address"
  fi
  printf '%s\n' "$dir" >"$owners_dir/$n"
}

default_route_mtu() {
  local device
  device=$(ip -4 -o route show default | sed -n '1s/.* dev \([^ ]*\).*/\1/p')
  if [[ -n $device ]]; then ip -o link show dev "$device" | sed 's/.* mtu \([0-9]*\).*/\1/'; else printf 1500; fi
}

# The rules carry a comment that names the guest's network, by which they are found again.
has_rules() {
  local rules
  rules=$(iptables -w -t "$1" -S "$2")
  if grep -Eq -- "--comment \"?mlflow-vps-$3\"? " <<<"$rules"; then echo yes; fi
}

remove_rules() {
  local rules rule
  rules=$(iptables -w -t "$1" -S "$2" | sed -nE "/--comment \"?mlflow-vps-$3\"? /s/^-A/-D/p")
  while [[ -n $rules ]] && read -r rule; do
    xargs iptables -w -t "$1" <<<"$rule"
  done <<<"$rules"
}

# Makes what is missing of the guest's network: nothing when it runs, everything after a reboot of the machine.
establish_network() {
  local n=$1 mtu netns=mlflow-vps-$1 there forwarding
  mtu=$(default_route_mtu)
  there=$(has_netns "$netns")
  if [[ -z $there ]]; then
    rm -f "/run/netns/$netns"
    ip netns add "$netns"
  fi
  # While there is no device, what is sent to the guest must not go to this machine's gateway.
  ip route replace unreachable "10.77.$n.0/24" metric 99999
  there=$(has_link "mlvps$n")
  if [[ -z $there ]]; then
    ip link add "mlvps$n" mtu "$mtu" type veth peer name host0 mtu "$mtu" netns "$netns"
    ip address add "10.77.$n.1/24" dev "mlvps$n"
    ip link set "mlvps$n" up
    ip -n "$netns" link set lo up
    ip -n "$netns" address add "10.77.$n.2/24" dev host0
    ip -n "$netns" link set host0 up
    ip -n "$netns" route add default via "10.77.$n.1"
  fi
  [[ $(</proc/sys/net/ipv4/ip_forward) == 1 ]] || printf 1 >/proc/sys/net/ipv4/ip_forward
  there=$(has_rules nat POSTROUTING "$n")
  [[ -n $there ]] ||
    iptables -w -t nat -A POSTROUTING -s "10.77.$n.0/24" ! -d "10.77.$n.0/24" \
      -m comment --comment "mlflow-vps-$n" -j MASQUERADE
  forwarding=$(iptables -w -S FORWARD)
  there=$(has_rules filter FORWARD "$n")
  if [[ $forwarding == *'-P FORWARD DROP'* && -z $there ]]; then
    iptables -w -I FORWARD -s "10.77.$n.0/24" -m comment --comment "mlflow-vps-$n" -j ACCEPT
    iptables -w -I FORWARD -d "10.77.$n.0/24" -m comment --comment "mlflow-vps-$n" -j ACCEPT
  fi
}

remove_namespace() {
  local n=$1 there
  there=$(has_netns "mlflow-vps-$n")
  [[ -z $there ]] || ip netns delete "mlflow-vps-$n"
  there=$(has_link "mlvps$n")
  if [[ -n $there ]] && ! ip link delete "mlvps$n" 2>/dev/null; then
    # The kernel removes it with the namespace, a moment later.
    there=$(has_link "mlvps$n")
    [[ -z $there ]] || die "cannot delete the network device mlvps$n"
  fi
}

remove_network() {
  local n=$1
  end_processes_of "$n"
  remove_namespace "$n"
  ip route delete unreachable "10.77.$n.0/24" metric 99999 2>/dev/null || true # a network that was never complete has none
  if command -v iptables >/dev/null; then
    remove_rules nat POSTROUTING "$n"
    remove_rules filter FORWARD "$n"
  fi
  # nspawn leaves this empty folder where /run is on disk.
  [[ ! -d /run/systemd/nspawn/propagate/mlflow-vps-$n ]] || rmdir "/run/systemd/nspawn/propagate/mlflow-vps-$n"
  rm -f "$owners_dir/$n"
}
