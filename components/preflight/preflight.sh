# shellcheck shell=bash
# shellcheck disable=SC2154 # the values and the library stand before this text
# Is this host fit for the server? Runs without privileges and changes nothing. Each line: what is wrong; what to do.

as_root() {
  if ((EUID == 0)); then "$@"; else sudo -n "$@" 2>/dev/null; fi
}

# unit_on PORT: the systemd unit (or else the process) that listens on a TCP port; nothing when it is free.
unit_on() {
  local inode pid unit
  inode=$(awk -v port="$(printf ':%04X$' "$1")" '$2 ~ port && $4 == "0A" { print $10; exit }' /proc/net/tcp /proc/net/tcp6 2>/dev/null || true) # tcp6 is not there without IPv6
  [[ -n $inode ]] || return 0
  pid=$(as_root find /proc -maxdepth 3 -path '/proc/[0-9]*/fd/*' -lname "socket:\[$inode\]" -print -quit 2>/dev/null | cut -d / -f 3) || true
  if [[ -z $pid ]]; then
    echo 'an unknown program'
    return
  fi
  unit=$(sed -n 's|.*/\([^/]*\.service\)$|\1|p' "/proc/$pid/cgroup" | head -n 1)
  echo "${unit:-$(<"/proc/$pid/comm")}"
}

# check_port PORT UNIT_PATTERN KEY: free, or ours, or a server's that is taken over before.
check_port() {
  local holder
  holder=$(unit_on "$1")
  # shellcheck disable=SC2053 # a pattern on purpose
  [[ -z $holder || $holder == $2 ]] || handmade_servers | grep --quiet --line-regexp --fixed-strings "$holder" ||
    problem "port $1 is taken by $holder; stop that or set $3 to a free port"
}

check_system() {
  local id version name architecture
  id=$(sed -n 's/^ID="\?\([^"]*\)"\?$/\1/p' /etc/os-release)
  version=$(sed -n 's/^VERSION_ID="\?\([^"]*\)"\?$/\1/p' /etc/os-release)
  name=$(sed -n 's/^PRETTY_NAME="\?\([^"]*\)"\?$/\1/p' /etc/os-release)
  [[ " ${systems[*]} " == *" $id-$version "* ]] ||
    problem "the system is ${name:-unknown}; install one of: ${systems[*]}"
  architecture=$(uname -m)
  [[ $architecture == x86_64 || $architecture == aarch64 ]] ||
    problem "the architecture is $architecture; take a host with x86_64 or aarch64"
  [[ -d /run/systemd/system ]] || problem "systemd does not run; take a real VPS or VM, not a plain container"
  (($(memory_mb) >= memory_needed)) || problem "the host has $(memory_mb) MB of memory, the server needs $memory_needed MB; take a larger one"
}

check_clock() {
  # The probe says what time it is where the program runs; a command does not, and the probe has looked before it.
  [[ -n ${client_time:-} ]] || return 0
  local difference=$(($(date +%s) - client_time))
  ((difference > -120 && difference < 120)) ||
    problem "the clock is ${difference#-} s $( ((difference > 0)) && echo fast || echo slow); turn time synchronisation on (timedatectl set-ntp true)"
}

check() {
  local is_root=yes
  as_root true || is_root=
  [[ -n $is_root ]] ||
    problem "$(id -un) may not use sudo without a password; as root: echo '$(id -un) ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/$(id -un)"
  check_system
  check_clock
  if [[ -d $release ]]; then
    check_room / "$room_running"
  else
    check_room /opt "$room_needed"
  fi
  check_room "$artifacts" "$room_running"
  # Who holds a port is for root to see.
  if [[ -n $is_root ]]; then
    check_port "$proxy_port" nginx.service proxy.port
    ((http_port == 0)) || check_port "$http_port" nginx.service proxy.httpPort
    check_port "$service_port" 'mlflow*.service' service.port
    check_port "$((service_port + 1))" 'mlflow*.service' service.port
    check_port "$database_port" 'postgresql@*.service' database.port
  fi
}

apply() {
  fail "the host is not fit for the server, nothing was changed:"$'\n'"$(check)"
}

remove() {
  return 0
}
