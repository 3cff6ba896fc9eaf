# shellcheck shell=bash
# The minimal Debian of a suite, by debootstrap: all layers stand on it.
set -euo pipefail

: "${cache_dir:?}" # of vps.sh

make_base() {
  local base=$cache_dir/$1
  [[ ! -e $base/.id ]] || return 0
  mkdir -p "$cache_dir"
  exec 7>"$cache_dir/$1.lock"
  await_maker 7 "$cache_dir/$1.lock" "the base image $1"
  if [[ ! -e $base/.id ]]; then
    say "making the base image $1 (once, about a minute)"
    # Left-overs of an interrupted run: nobody else works here while we hold the lock.
    remove_tree "$base.new"
    remove_tree "$base" # of an earlier version of this script
    bootstrap "$1" "$base.new"
    mv "$base.new" "$base"
  fi
  exec 7>&-
}

# await_maker DESCRIPTOR LOCK WHAT: takes the lock that is open there; whoever holds it is making the same thing.
await_maker() {
  ! flock -n "$1" || return 0
  say "waiting for another run that makes $3"
  flock -w 900 "$1" || die "$3 was not made in 15 minutes by the run that holds $2"
}

# bootstrap SUITE DIRECTORY
bootstrap() {
  local suite=$1 new=$2 log=$cache_dir/$1.log mirror
  if ! debootstrap --variant=minbase \
    --include=systemd,systemd-sysv,dbus,openssh-server,sudo,ca-certificates,python3 \
    "$suite" "$new" >"$log" 2>&1 </dev/null 8>&- 9>&-; then
    tail -n 15 "$log" >&2
    die "debootstrap of $suite failed: see the lines above and $log"
  fi
  # debootstrap leaves its mirror, for the suite alone; a provider's image takes updates and security fixes too.
  mirror=$(awk '$1 == "deb" { print $2; exit }' "$new/etc/apt/sources.list")
  cat >"$new/etc/apt/sources.list" <<TEXT
deb $mirror $suite main
deb $mirror $suite-updates main
deb ${mirror%/}-security $suite-security main
TEXT
  forget_identity "$new"
  find "$new/var/lib/apt/lists" -type f -delete # debootstrap's, of the suite alone
  cat /proc/sys/kernel/random/uuid >"$new/.id"  # other layers stand on this very image
}

# What no image of a provider holds: host keys, an identity, package files, the times of the last runs of timers.
forget_identity() {
  rm -f "$1"/etc/ssh/ssh_host_* "$1"/var/cache/apt/archives/*.deb "$1"/var/cache/apt/*.bin "$1"/var/lib/systemd/timers/stamp-*
  rm -rf "$1"/var/log/journal/*
  : >"$1/etc/machine-id"
}
