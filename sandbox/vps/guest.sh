# shellcheck shell=bash
# A guest's folder: what is noted down in it, who works on it, and the processes of the guest.
set -euo pipefail

: "${sandbox_dir:?} ${lock_dir:?} ${owners_dir:?} ${name?} ${dir?} ${from?}" # of vps.sh

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
  { read -r noted <"$dir/$1"; } 2>/dev/null || true # the guest may just be taken down
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
  flock -w 300 8 || die "guest '$name' is busy: another sandbox/vps.sh has been working on it for over 5 minutes"
}

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

# make_guest: a disk on the layers that --from names, booted; with --from served, the program applied.
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

# Also what an interrupted run left of one.
discard_guest() {
  local owner
  [[ ! -d $dir ]] || pull_the_plug
  lock_network
  for owner in "$owners_dir"/*; do
    [[ ! -f $owner || $(<"$owner") != "$dir" ]] || remove_network "${owner##*/}"
  done
  unlock_network
  remove_disk "$dir/disk" "$dir/root"
  remove_tree "$dir"
}
