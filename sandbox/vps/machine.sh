# shellcheck shell=bash
# What the sandbox needs of this machine: Linux, root, a few packages of Debian.
set -euo pipefail

: "${lock_dir:?}" # of vps.sh

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
  # The usual reason of a failure is that the package lists are missing or too old.
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
  flock -w 600 7 || die "another sandbox/vps.sh has been installing packages for over 10 minutes"
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
