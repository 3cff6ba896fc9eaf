# shellcheck shell=bash
# Power: a guest boots until it accepts logins, and is switched off.
set -euo pipefail

: "${login_user:?} ${name?} ${dir?}" # of vps.sh

# Guests must not share a control group: each one's systemd believes that it is alone there. This is about the hierarchies
# in which systemd keeps track of processes, no others.
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
  if [[ -e $dir/stack ]]; then # after a reboot of the machine
    [[ -d $dir/disk/upper ]] || die "the disk of '$name' was in memory, and went with a reboot of this machine: 'sandbox/vps.sh rebuild $name' makes a fresh one"
    mount_disk "$(<"$dir/stack")" "$dir/disk" "$dir/root"
  fi
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
    [[ -n $ended ]] || say "the guest '$name' does not shut down, killing it"
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
