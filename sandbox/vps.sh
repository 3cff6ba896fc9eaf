#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
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
                              --from served: and then with the program applied (FILE: a stack's config without address, login
                              and keys; its state is in FOLDER/deployment), which takes seconds
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
Packages of Debian and PyPI reach the guests through a cache on this machine (sandbox/vps/cache.sh), but for --mirrors real.
MLFLOW_VPS_SUITE=trixie makes Debian 13 the default suite.
MLFLOW_VPS_DISK=memory keeps the disk of a new guest in memory: 1 to 5 GB, lost with a reboot of this machine.
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

# The command's guest and options, which the parts share.
command='' name='' dir='' # the guest's name and its folder
suite='' memory_mb='' mirrors='' new_host_key='' from=bare mlflow_version='' config='' # of 'up' and 'rebuild'
cache='' # 'yes' once the package cache is known to run
disk_in=${MLFLOW_VPS_DISK:-directory} # where new disks are
[[ $disk_in == directory || $disk_in == memory ]] || die "MLFLOW_VPS_DISK is '$disk_in': use 'directory' or 'memory'"

# shellcheck source=vps/machine.sh
source "$project_root/sandbox/vps/machine.sh"
# shellcheck source=vps/options.sh
source "$project_root/sandbox/vps/options.sh"
# shellcheck source=vps/guest.sh
source "$project_root/sandbox/vps/guest.sh"
# shellcheck source=vps/network.sh
source "$project_root/sandbox/vps/network.sh"
# shellcheck source=vps/power.sh
source "$project_root/sandbox/vps/power.sh"
# shellcheck source=vps/disk.sh
source "$project_root/sandbox/vps/disk.sh"
# shellcheck source=vps/cache.sh
source "$project_root/sandbox/vps/cache.sh"
# shellcheck source=vps/nginx.sh
source "$project_root/sandbox/vps/nginx.sh"
# shellcheck source=vps/suite.sh
source "$project_root/sandbox/vps/suite.sh"
# shellcheck source=vps/bare.sh
source "$project_root/sandbox/vps/bare.sh"
# shellcheck source=vps/layers.sh
source "$project_root/sandbox/vps/layers.sh"
# shellcheck source=vps/leftovers.sh
source "$project_root/sandbox/vps/leftovers.sh"

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
  command=${1-}
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
      [[ $# -eq 0 ]] || die "$command takes only a guest name, not '$*'"
      "$command"
      ;;
  esac
}

main "$@"
