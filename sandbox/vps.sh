#!/usr/bin/env bash
# A stand-in VPS on this machine: a bare Debian with its own address, sshd and a sudo user, for the tests and the demo.
# It is a systemd-nspawn container in a network namespace of its own; to an SSH client it is a host like any other.
set -euo pipefail
shopt -s inherit_errexit
umask 022

usage() {
  cat <<'TEXT'
Usage (as root, on a Debian-like machine):
  sandbox/vps.sh up NAME [--suite bookworm|trixie] [--memory-mb 2048] [--from bare|packaged|served] [--mlflow VERSION] [--config FILE]
                              [--mirrors cached|real]
                              make the guest when it is not there, boot it, wait until it takes SSH logins;
                              --from packaged: with the packages and the release of MLflow already on it;
                              --from served: and then with the program applied (FILE: a stack's config without what leads
                              to the host; its state is in FOLDER/deployment), which takes seconds
  sandbox/vps.sh run NAME CMD [ARG...]
                              run a command as root inside the guest (a pipeline: run NAME sh -c 'a | b')
  sandbox/vps.sh address NAME print its IPv4 address
  sandbox/vps.sh stop NAME    power it off, the disk is kept
  sandbox/vps.sh start NAME   boot it again
  sandbox/vps.sh rebuild NAME [--new-host-key] [--suite ...] [--memory-mb ...] [--from ...] [--mirrors ...]
                              a fresh disk with the same address and keys, like a re-imaged VPS
  sandbox/vps.sh down NAME    stop it and delete everything of it
  sandbox/vps.sh list         name, address, suite, memory and state of each guest
  sandbox/vps.sh cache        the package cache: whether it runs, its size, what it served
  sandbox/vps.sh cache stop   end it; the next 'up' or 'start' starts it again
  sandbox/vps.sh cache clear  end it and delete what it holds

Log in:  ssh -i FOLDER/id_ed25519 deploy@ADDRESS      (deploy may use sudo without a password)
A guest's FOLDER is ${MLFLOW_VPS_SANDBOX:-<project>/.sandbox}/NAME; what several guests share is kept in ~/.cache/mlflow-vps.
Packages of Debian and PyPI reach the guests through a cache on this machine (sandbox/cache.sh), but for --mirrors real.
MLFLOW_VPS_SUITE=trixie makes Debian 13 the suite of guests for which none is given.
TEXT
}

say() { printf 'sandbox: %s\n' "$*" >&2; }
die() {
  printf 'sandbox: %s\n' "$*" >&2
  exit 1
}

project_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
sandbox_dir=$(realpath -m -- "${MLFLOW_VPS_SANDBOX:-$project_root/.sandbox}")
cache_dir=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/mlflow-vps
owners_dir=/run/mlflow-vps # N -> the guest folder that uses 10.77.N.0/24; lives as long as the network namespaces
lock_dir=/run/lock
login_user=deploy

# shellcheck source-path=SCRIPTDIR source=cache.sh
source "$project_root/sandbox/cache.sh"
# shellcheck source-path=SCRIPTDIR source=layers.sh
source "$project_root/sandbox/layers.sh"

# --- preconditions -------------------------------------------------------------------------------------------------

require_root_on_linux() {
  local kernel
  kernel=$(uname -s)
  [[ $kernel == Linux ]] || die "needs Linux (Debian or Ubuntu); this is $kernel"
  [[ $EUID -eq 0 ]] || die "needs root: run it with sudo"
}

missing_packages() {
  local pair
  for pair in debootstrap:debootstrap systemd-nspawn:systemd-container ssh:openssh-client openssl:openssl iptables:iptables \
    ip:iproute2 nsenter:util-linux; do
    command -v "${pair%%:*}" >/dev/null || printf '%s ' "${pair#*:}"
  done
  [[ -e /usr/share/keyrings/debian-archive-keyring.gpg ]] || printf 'debian-archive-keyring'
}

# Prints 'yes' when the packages are installed; what apt-get said is in the file.
apt_install() {
  local log=$1 install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends
    -o DPkg::Lock::Timeout=300)
  shift
  # When it fails the usual reason is that the package lists are missing or too old.
  if "${install[@]}" "$@" >"$log" 2>&1 </dev/null 6>&- 7>&- ||
    { apt-get update -q && "${install[@]}" "$@"; } >"$log" 2>&1 </dev/null 6>&- 7>&-; then
    echo yes
  fi
}

require_packages() {
  local names missing log installed
  names=$(missing_packages)
  [[ -n $names ]] || return 0
  exec 7>"$lock_dir/mlflow-vps-packages"
  flock -w 600 7 || die "another sandbox/vps.sh installs packages for over 10 minutes"
  names=$(missing_packages) # again: that run may have installed them
  read -ra missing <<<"$names"
  if [[ ${#missing[@]} -gt 0 ]]; then
    command -v apt-get >/dev/null || die "needs ${missing[*]}, and there is no apt-get here to install them"
    say "installing ${missing[*]}"
    log=$(mktemp)
    installed=$(apt_install "$log" "${missing[@]}")
    if [[ -z $installed ]]; then
      tail -n 15 "$log" >&2
      die "apt-get could not install ${missing[*]}: see the lines above and $log"
    fi
    rm -f "$log"
  fi
  exec 7>&-
}

# --- one guest's folder --------------------------------------------------------------------------------------------

use_guest() {
  name=$1
  [[ $name =~ ^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$ ]] ||
    die "guest name '$name': use lower-case letters, digits and hyphens, a letter first, at most 32"
  dir=$sandbox_dir/$name
}

has_disk() { [[ ! -e $dir/stack && (! -d $dir/root/etc || -d $dir/disk) ]] || echo yes; } # without layers: of an earlier version

require_guest() {
  local there
  there=$(has_disk)
  [[ -n $there ]] || die "there is no guest '$name' in $sandbox_dir: make it with 'sandbox/vps.sh up $name'"
}

# What an earlier command noted down about the guest, or the default.
saved() {
  local noted=''
  { read -r noted <"$dir/$1"; } 2>/dev/null || true # somebody may be taking the guest down
  printf '%s' "${noted:-$2}"
}

digest_of() { printf %s "$1" | sha256sum | cut -c1-16; }

lock_of_guest() {
  local digest
  digest=$(digest_of "$1")
  printf '%s' "$lock_dir/mlflow-vps-guest-$digest"
}

# Serialises commands on one guest. The lock is named by the path: several clones may have a guest of the same name.
lock_guest() {
  local file
  file=$(lock_of_guest "$dir")
  exec 8>"$file"
  flock -w 300 8 || die "guest '$name' is busy: another sandbox/vps.sh has worked on it for over 5 minutes"
}

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

# These print the process id, or nothing while the guest is off. A process may end while it is looked at. The tests run
# thousands of commands in guests, so nothing here starts a program.

# The command line is compared: ids are reused, also after a reboot of the machine.
supervisor_pid() {
  local pid word words=()
  pid=$(saved pid '')
  [[ -n $pid ]] || return 0
  { mapfile -d '' words <"/proc/$pid/cmdline"; } 2>/dev/null || true
  for word in "${words[@]}"; do
    if [[ $word == "mlflow-vps-guest:$dir" ]]; then printf '%s' "$pid"; fi
  done
}

children_of() {
  local children=''
  { read -r children <"/proc/$1/task/$1/children"; } 2>/dev/null || true
  printf '%s' "$children"
}

nspawn_pid() {
  local supervisor children child program
  supervisor=$(supervisor_pid)
  [[ -n $supervisor ]] || return 0
  children=$(children_of "$supervisor")
  for child in $children; do
    program=''
    { read -r program <"/proc/$child/comm"; } 2>/dev/null || true
    if [[ $program == systemd-nspawn ]]; then
      printf '%s' "$child"
      return
    fi
  done
}

# Process 1 of the guest, as this machine numbers it.
leader_pid() {
  local nspawn children child lines
  nspawn=$(nspawn_pid)
  [[ -n $nspawn ]] || return 0
  children=$(children_of "$nspawn")
  for child in $children; do
    lines=()
    { mapfile -t lines <"/proc/$child/status"; } 2>/dev/null || true
    if [[ " ${lines[*]} " == *" NSpid:"$'\t'"$child"$'\t'"1 "* ]]; then
      printf '%s' "$child"
      return
    fi
  done
}

# Some disks take a millisecond for each deletion but many at once.
remove_tree() {
  [[ -d $1 ]] || return 0
  find "$1" -xdev ! -type d -print0 | xargs -0 -r -P 8 -n 100 rm -f --
  rm -rf --one-file-system "$1"
}

# --- a guest's disk ------------------------------------------------------------------------------------------------

make_keys() {
  [[ -e $dir/id_ed25519 ]] || ssh-keygen -q -t ed25519 -N '' -C "$login_user@$name" -f "$dir/id_ed25519"
  # Who used sudo to get here wants to log in without.
  [[ -z ${SUDO_UID-} ]] || chown "$SUDO_UID:" "$dir/id_ed25519" "$dir/id_ed25519.pub"
  if [[ ! -e $dir/host_keys/complete ]]; then
    rm -rf "$dir/host_keys"
    install -d -m 0700 "$dir/host_keys" "$dir/host_keys/etc" "$dir/host_keys/etc/ssh"
    ssh-keygen -q -A -f "$dir/host_keys" >/dev/null
    find "$dir/host_keys/etc/ssh" -name 'ssh_host_dsa_key*' -delete
    : >"$dir/host_keys/complete"
  fi
  cut -d' ' -f1,2 "$dir/host_keys/etc/ssh/ssh_host_ed25519_key.pub" >"$dir/host_key.pub"
}

# The guest sees the whole machine's memory otherwise. A VPS sold with N MB shows about 97 % of it: its kernel keeps the rest.
pretend_memory() {
  local root=$1 memory_mb=$2
  cat >"$root/usr/local/sbin/sandbox-meminfo" <<'TEXT'
#!/bin/sh
set -eu
awk -v total="$1" '
  $1 == "MemTotal:" { $2 = total }
  $1 == "MemFree:" { $2 = int(total * 0.75) }
  $1 == "MemAvailable:" { $2 = int(total * 0.9) }
  $3 == "kB" { printf "%-15s %8d kB\n", $1, $2; next }
  { print }' /proc/meminfo >/run/sandbox-meminfo
mount --bind /run/sandbox-meminfo /proc/meminfo
TEXT
  chmod 0755 "$root/usr/local/sbin/sandbox-meminfo"
  cat >"$root/etc/systemd/system/sandbox-meminfo.service" <<TEXT
[Unit]
Description=Show the memory of a $memory_mb MB VPS in /proc/meminfo
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/sandbox-meminfo $((memory_mb * 1024 * 97 / 100))

[Install]
WantedBy=sysinit.target
TEXT
  # Where /tmp is a tmpfs, its default size is half of the memory.
  mkdir -p "$root/etc/systemd/system/tmp.mount.d" "$root/etc/systemd/system/sysinit.target.wants"
  printf '[Mount]\nOptions=mode=1777,strictatime,nosuid,nodev,size=%sm,nr_inodes=1m\n' "$((memory_mb / 2))" \
    >"$root/etc/systemd/system/tmp.mount.d/sandbox.conf"
  ln -sf ../sandbox-meminfo.service "$root/etc/systemd/system/sysinit.target.wants/"
}

# make_disk STACK MEMORY_MB: a fresh disk on these layers, with the guest's own name, keys and size.
make_disk() {
  local root=$dir/root
  rm -f "$dir/stack" # what is not complete is no disk
  unmount_disk "$root"
  remove_tree "$dir/disk"
  remove_tree "$root" # of guests that an earlier version of this script made
  mount_disk "$1" "$dir/disk" "$root"
  tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
  printf '%s\n' "$name" >"$root/etc/hostname"
  printf '127.0.0.1\tlocalhost\n127.0.1.1\t%s\n::1\tlocalhost ip6-localhost ip6-loopback\n' "$name" >"$root/etc/hosts"
  cp -a "$dir"/host_keys/etc/ssh/ssh_host_* "$root/etc/ssh/"
  cp "$dir/id_ed25519.pub" "$root/home/$login_user/.ssh/authorized_keys"
  chroot "$root" /usr/bin/chown "$login_user:$login_user" "/home/$login_user/.ssh/authorized_keys"
  pretend_memory "$root" "$2"
  printf '%s\n' "$suite" >"$dir/suite"
  printf '%s\n' "$2" >"$dir/memory_mb"
  register_guest
  printf '%s' "$1" >"$dir/stack"
}

# --- network -------------------------------------------------------------------------------------------------------

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

# --- boot and power off --------------------------------------------------------------------------------------------

# Guests must not share a control group: each one's systemd believes that it is alone there. Only the hierarchies that
# systemd uses to keep track of processes are concerned.
cgroup_mounts() { awk '$3 == "cgroup2" || ($3 == "cgroup" && $4 ~ /(^|,)name=systemd(,|$)/) { print $2 }' /proc/mounts; }

# Ends every process of the guest with this number, also those that a killed nspawn left behind, and removes its groups.
end_processes_of() {
  local mounts mount group processes pids deadline=$((SECONDS + 20))
  mounts=$(cgroup_mounts)
  for mount in $mounts; do
    group=$mount/mlflow-vps-$1
    while [[ -d $group ]]; do
      processes=$(find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null | grep -vx 0 || true) # groups vanish meanwhile
      if [[ -n $processes ]]; then
        mapfile -t pids <<<"$processes"
        kill -KILL "${pids[@]}" 2>/dev/null || true # some may have ended by themselves
      elif find "$group" -depth -type d -exec rmdir {} + 2>/dev/null; then
        break
      fi
      [[ $SECONDS -lt $deadline ]] || die "processes do not end even when killed: ${processes//$'\n'/ } in $group"
      sleep 0.02
    done
  done
}

# Runs as a process of its own in a session of its own, for as long as the guest is powered on. Exit code 133 of nspawn is
# a reboot from inside.
supervise() {
  local fd dir=$1 number=$2 hostname=$3 mounts=$4 code mount
  for fd in "/proc/$BASHPID/fd"/*; do
    fd=${fd##*/}
    [[ $fd -le 2 ]] || eval "exec $fd>&-"
  done
  for mount in $mounts; do
    mkdir -p "$mount/mlflow-vps-$number"
    printf '%s\n' "$BASHPID" >"$mount/mlflow-vps-$number/cgroup.procs"
  done
  while :; do
    code=0
    # Without these, /tmp would be a tmpfs also where the suite has it on disk, and the guest would get the control groups
    # of this machine's layout in place of the unified ones of every current Debian. The network namespace is the guest's
    # own, so its root may set up a firewall there, as on a VPS.
    SYSTEMD_NSPAWN_TMPFS_TMP=0 SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --directory="$dir/root" --boot --register=no --keep-unit --settings=no \
      --machine="mlflow-vps-$number" --hostname="$hostname" --network-namespace-path="/run/netns/mlflow-vps-$number" --capability=CAP_NET_ADMIN \
      --resolv-conf=off --timezone=off --link-journal=no --console=read-only || code=$?
    [[ $code -eq 133 ]] || exit "$code"
  done
}

resolver_source() {
  local source=/etc/resolv.conf
  # A resolver on this machine's own loopback is out of the guest's reach; systemd-resolved keeps the real ones here.
  if ! grep -Eq '^nameserver[[:space:]]+' "$source" || grep -Eq '^nameserver[[:space:]]+127\.' "$source"; then
    source=/run/systemd/resolve/resolv.conf
    [[ -r $source ]] || die "/etc/resolv.conf names no server but this machine's own loopback: the guest would have no DNS"
  fi
  printf %s "$source"
}

write_resolv_conf() {
  local source
  source=$(resolver_source)
  rm -f "$dir/root/etc/resolv.conf"
  cat "$source" >"$dir/root/etc/resolv.conf"
}

fail_with_console() {
  tail -n 20 "$dir/console.log" | tr -d '\r' >&2
  die "$*: see the lines above and $dir/console.log"
}

boot() {
  local n mounts program
  [[ ! -e $dir/stack ]] || mount_disk "$(<"$dir/stack")" "$dir/disk" "$dir/root" # after a reboot of the machine
  lock_network
  reserve_address
  n=$(subnet_number)
  end_processes_of "$n"
  remove_namespace "$n" # what boots has no firewall and no connection from before
  establish_network "$n"
  unlock_network
  write_resolv_conf
  choose_mirrors "$dir/root"
  printf '%s %s\n' "$(<"$dir/address")" "$(<"$dir/host_key.pub")" >"$dir/known_hosts"
  mounts=$(cgroup_mounts)
  program=$(declare -f supervise)
  say "booting $name at $(<"$dir/address")"
  setsid bash -c "set -euo pipefail; $program; supervise \"\$@\"" "mlflow-vps-guest:$dir" \
    "$dir" "$n" "$name" "$mounts" </dev/null >"$dir/console.log" 2>&1 &
  printf '%s\n' "$!" >"$dir/pid"
  disown
  wait_for_login
}

boot_unless_on() {
  local supervisor
  supervisor=$(supervisor_pid)
  if [[ -n $supervisor ]]; then wait_for_login; else boot; fi
}

# Until the guest has finished booting and the sudo user can log in.
wait_for_login() {
  local supervisor answer state failed deadline=$((SECONDS + 60))
  local on_guest=(ssh -F none -i "$dir/id_ed25519" -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=yes
    -o UserKnownHostsFile="\"$dir/known_hosts\"" -o GlobalKnownHostsFile=none -o ConnectTimeout=3 -o LogLevel=ERROR
    "$login_user@$(<"$dir/address")")
  until answer=$("${on_guest[@]}" 'sudo -n true && { timeout 45 systemctl is-system-running --wait || true; }' 2>&1); do
    supervisor=$(supervisor_pid)
    [[ -n $supervisor ]] || fail_with_console "the guest '$name' did not stay up"
    [[ $SECONDS -lt $deadline ]] || fail_with_console "no SSH login at $(<"$dir/address") within 60 s ($answer)"
    sleep 0.1
  done
  state=${answer##*$'\n'}
  if [[ $state == degraded ]]; then
    failed=$("${on_guest[@]}" systemctl list-units --failed --plain --no-legend | cut -d' ' -f1 | xargs)
    say "$name is up, but these units failed: $failed"
  elif [[ $state != running ]]; then
    say "$name takes logins but has not finished booting ($state)"
  fi
}

# Waits until process $1 has ended, at most $2 seconds: whether it has.
ends_within() {
  local deadline=$((SECONDS + $2))
  while kill -0 "$1" 2>/dev/null; do
    [[ $SECONDS -lt $deadline ]] || return 0
    sleep 0.05
  done
  echo yes
}

power_off() {
  local supervisor nspawn ended
  supervisor=$(supervisor_pid)
  [[ -n $supervisor ]] || return 0
  nspawn=$(nspawn_pid)
  if [[ -n $nspawn ]]; then
    kill -TERM "$nspawn"
    ended=$(ends_within "$supervisor" 45)
    [[ -n $ended ]] || say "the guest '$name' does not shut down: pulling the plug"
  fi
  pull_the_plug
}

pull_the_plug() {
  local supervisor ended n owner
  supervisor=$(supervisor_pid)
  if [[ -n $supervisor ]]; then
    kill -KILL "$supervisor"
    ended=$(ends_within "$supervisor" 20)
    [[ -n $ended ]] || die "process $supervisor of the guest '$name' does not end even when killed"
  fi
  if [[ -s $dir/address ]]; then
    n=$(subnet_number)
    owner=$(owner_of_subnet "$n")
    if [[ $owner == "$dir" ]]; then end_processes_of "$n"; fi
  fi
  rm -f "$dir/pid"
}

# --- commands ------------------------------------------------------------------------------------------------------

parse_options() {
  suite='' memory_mb='' mirrors='' new_host_key='' from=bare mlflow_version='' config=''
  while [[ $# -gt 0 ]]; do
    case $1 in
      --suite)
        suite=${2-}
        [[ $suite == bookworm || $suite == trixie ]] || die "--suite '$suite': use bookworm or trixie"
        shift 2
        ;;
      --memory-mb)
        memory_mb=${2-}
        [[ $memory_mb =~ ^[1-9][0-9]{2,6}$ ]] || die "--memory-mb '$memory_mb': use a whole number of MB, 100 or more"
        shift 2
        ;;
      --from)
        from=${2-}
        [[ $from == bare || $from == packaged || $from == served ]] || die "--from '$from': use bare, packaged or served"
        shift 2
        ;;
      --mlflow)
        mlflow_version=${2-}
        [[ -e $project_root/components/tracking/runtime/locks/$mlflow_version.txt ]] ||
          die "--mlflow '$mlflow_version': there is no lock of it in components/tracking/runtime/locks"
        shift 2
        ;;
      --config)
        config=${2-}
        [[ -r $config ]] || die "--config '$config' cannot be read"
        shift 2
        ;;
      --mirrors)
        mirrors=${2-}
        [[ $mirrors == cached || $mirrors == real ]] || die "--mirrors '$mirrors': use cached or real"
        shift 2
        ;;
      --new-host-key)
        [[ $command == rebuild ]] || die "--new-host-key is for rebuild"
        new_host_key=yes
        shift
        ;;
      *) die "unknown option '$1': see sandbox/vps.sh --help" ;;
    esac
  done
  [[ -z $config || $from == served ]] || die "--config is for --from served"
}

# make_guest: its disk on the layers that were asked for, booted, and served where that was asked for.
make_guest() {
  local layer
  suite=${suite:-$(saved suite "${MLFLOW_VPS_SUITE:-bookworm}")}
  memory_mb=${memory_mb:-$(saved memory_mb 2048)}
  [[ -z $mirrors ]] || printf '%s\n' "$mirrors" >"$dir/mirrors"
  use_layer "$from"
  make_keys
  make_disk "$(<"$layer/stack")" "$memory_mb"
  boot
  if [[ $from == served ]]; then
    run_program up "$dir/deployment/state" "${config:-$layer/config.yaml}" --base "$layer/state"
    say "$name serves: address, users and passwords are in $dir/deployment/state/outputs.json"
  fi
}

up() {
  local there noted_mirrors
  require_packages
  cache=$(start_cache)
  clean_up_after_killed
  mkdir -p "$dir"
  lock_guest
  there=$(has_disk)
  if [[ -n $there ]]; then
    [[ -z $suite || $suite == "$(<"$dir/suite")" ]] ||
      die "guest '$name' is there with $(<"$dir/suite"): for $suite use 'sandbox/vps.sh rebuild $name --suite $suite'"
    [[ -z $memory_mb || $memory_mb == "$(<"$dir/memory_mb")" ]] ||
      die "guest '$name' is there with $(<"$dir/memory_mb") MB: use 'sandbox/vps.sh rebuild $name --memory-mb $memory_mb'"
    noted_mirrors=$(saved mirrors cached)
    [[ -z $mirrors || $mirrors == "$noted_mirrors" ]] ||
      die "guest '$name' is there with $noted_mirrors mirrors: use 'sandbox/vps.sh rebuild $name --mirrors $mirrors'"
    boot_unless_on
  else
    make_guest
  fi
}

start() {
  require_guest
  require_packages
  cache=$(start_cache)
  lock_guest
  boot_unless_on
}

stop() {
  require_guest
  lock_guest
  power_off
}

rebuild() {
  require_guest
  require_packages
  cache=$(start_cache)
  clean_up_after_killed
  lock_guest
  pull_the_plug
  [[ -z $new_host_key ]] || rm -f "$dir/host_keys/complete"
  make_guest
}

down() {
  if [[ -d $dir ]]; then lock_guest; fi
  discard_guest
}

# Also what an interrupted run left of one.
discard_guest() {
  local owner
  [[ ! -d $dir ]] || pull_the_plug
  lock_network
  for owner in "$owners_dir"/*; do
    [[ ! -f $owner || $(<"$owner") != "$dir" ]] || remove_network "${owner##*/}"
  done
  unlock_network
  unmount_disk "$dir/root"
  remove_tree "$dir"
}

run() {
  local leader
  require_guest
  leader=$(leader_pid)
  [[ -n $leader ]] || die "guest '$name' is not running: 'sandbox/vps.sh start $name'"
  [[ $# -gt 0 ]] || set -- bash -l
  exec nsenter --target "$leader" --mount --uts --ipc --net --pid --cgroup --root --wd \
    /usr/bin/env -i --chdir=/root HOME=/root USER=root LOGNAME=root SHELL=/bin/bash LANG=C.UTF-8 TERM="${TERM:-dumb}" \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --pdeathsig TERM -- "$@" # nsenter passes no signal on: end the command when it is ended itself
}

address() {
  require_guest
  [[ -s $dir/address ]] || die "guest '$name' was never booted: run 'sandbox/vps.sh up $name'"
  cat "$dir/address"
}

list() {
  local supervisor state address suite memory_mb there
  for dir in "$sandbox_dir"/*/; do
    dir=${dir%/}
    there=$(has_disk)
    [[ -n $there ]] || continue
    supervisor=$(supervisor_pid)
    if [[ -n $supervisor ]]; then state=running; else state=stopped; fi
    address=$(saved address -)
    suite=$(saved suite -)
    memory_mb=$(saved memory_mb -)
    printf '%-20s %-12s %-9s %6s MB  %s\n' "${dir##*/}" "$address" "$suite" "$memory_mb" "$state"
  done
}

main() {
  local command=${1-} name dir suite memory_mb mirrors new_host_key from mlflow_version config cache
  case $command in
    up | rebuild | down | stop | start | run | address) ;;
    list)
      require_root_on_linux
      list
      return
      ;;
    cache)
      require_root_on_linux
      case ${2-show} in
        show | stop | clear) "${2-show}_cache" ;;
        *) die "unknown command 'cache $2': see sandbox/vps.sh --help" ;;
      esac
      return
      ;;
    -h | --help | help)
      usage
      return
      ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
  require_root_on_linux
  [[ $# -ge 2 ]] || die "which guest? sandbox/vps.sh $command NAME"
  use_guest "$2"
  shift 2
  case $command in
    up | rebuild)
      parse_options "$@"
      "$command"
      ;;
    run) run "$@" ;;
    *)
      [[ $# -eq 0 ]] || die "$command takes a guest name only, not '$*'"
      "$command"
      ;;
  esac
}

main "$@"
