# shellcheck shell=bash
# Our table in the kernel: as it should be, as it is, and how it is loaded.

wanted_rules() {
  local open
  open=$(ports_of_ssh)
  [[ $open =~ ^[0-9]+(, [0-9]+)*$ ]] ||
    fail "no port found on which this host accepts SSH, so the firewall would lock everybody out"
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

# The kernel knows existing connections only once it has seen packets of them, so it watches for a moment before the
# first rules drop anything.
prime_conntrack() {
  nft 'add table inet mlflow_vps; add chain inet mlflow_vps input { type filter hook input priority filter; };
    add rule inet mlflow_vps input ct state established accept'
  sleep 2
}

# load RULES
load() {
  local current
  current=$(in_force)
  [[ -n $current ]] || prime_conntrack
  nft -f - <<<"$1"
}
