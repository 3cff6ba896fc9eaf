# shellcheck shell=bash
# Whether the host meets the requirements. Runs without privileges and changes nothing. Each line: what is wrong; what to do.

# check_sudo: reports why the login cannot use sudo.
check_sudo() {
  local user refusal code=0
  ((EUID != 0)) || return 0
  user=$(id -un)
  refusal=$(sudo -n true 2>&1) || code=$?
  case $code in
    0) ;;
    127) problem "sudo is not installed, and $user is not root; as root: apt-get install sudo && echo '$user ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/$user" ;;
    *) problem "$user may not use sudo without a password; as root: echo '$user ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/$user (sudo says: ${refusal//$'\n'/ })" ;;
  esac
}

# unit_on PORT: the systemd unit (or else the process) that listens on a TCP port; nothing when it is free.
unit_on() {
  local inode holder
  inode=$(listener_inode "$1")
  [[ -n $inode ]] || return 0
  # What find could not read are processes that have ended.
  # shellcheck disable=SC2016 # for the other shell
  holder=$(as_root sh -c 'process=$(find /proc -maxdepth 3 -path "/proc/[0-9]*/fd/*" -lname "socket:\[$1\]" -print -quit 2>/dev/null | cut -d / -f 3)
    [ -z "$process" ] || cat "/proc/$process/comm" "/proc/$process/cgroup" 2>/dev/null || true' sh "$inode")
  sed -n -e '1h' -e '\|\.service$|{s|.*/||;p;q}' -e '$ {x;s|^$|an unknown program|;p}' <<<"$holder"
}

# check_port PORT UNIT_PATTERN KEY: free, or ours, or a server's that is adopted before.
check_port() {
  local holder servers
  holder=$(unit_on "$1")
  # shellcheck disable=SC2053 # a pattern on purpose
  [[ -n $holder && $holder != $2 ]] || return 0
  servers=$(unmanaged_servers)
  [[ $'\n'$servers$'\n' == *$'\n'"$holder"$'\n'* ]] ||
    problem "port $1 is taken by $holder; stop that or set $3 to a free port"
}

check_system() {
  local id version name architecture memory
  id=$(sed -n 's/^ID="\?\([^"]*\)"\?$/\1/p' /etc/os-release)
  version=$(sed -n 's/^VERSION_ID="\?\([^"]*\)"\?$/\1/p' /etc/os-release)
  name=$(sed -n 's/^PRETTY_NAME="\?\([^"]*\)"\?$/\1/p' /etc/os-release)
  [[ " ${systems[*]} " == *" $id-$version "* ]] ||
    problem "the system is ${name:-unknown}; install one of: ${systems[*]}"
  architecture=$(uname -m)
  [[ $architecture == x86_64 || $architecture == aarch64 ]] ||
    problem "the architecture is $architecture; use a host with x86_64 or aarch64"
  [[ -d /run/systemd/system ]] || problem "systemd is not running; use a VPS or VM, not a plain container"
  memory=$(memory_mb)
  ((memory >= memory_needed)) || problem "the host has $memory MB of memory, the server needs $memory_needed MB; use a larger one"
}

check_clock() {
  local now difference direction=fast
  # The probe says what time it is where the program runs; a command does not, and the probe has looked before it.
  [[ -n ${client_time:-} ]] || return 0
  now=$(date +%s)
  difference=$((now - client_time))
  ((difference > 0)) || direction=slow
  ((difference > -120 && difference < 120)) ||
    problem "the clock is ${difference#-} s $direction; turn on time synchronisation (timedatectl set-ntp true)"
}

check() {
  local refusal
  check_owner
  check_system
  check_clock
  refusal=$(check_sudo)
  if [[ -n $refusal ]]; then
    problem "$refusal"
    return
  fi
  # Who holds a port, and what is on which disk, is for root to see.
  if [[ -d $release ]]; then
    check_room / "$room_running"
  else
    check_room /opt "$room_needed"
  fi
  check_room "$artifacts" "$room_running"
  check_port "$proxy_port" nginx.service proxy.port
  ((http_port == 0)) || check_port "$http_port" nginx.service proxy.httpPort
  check_port "$service_port" 'mlflow*.service' service.port
  check_port "$((service_port + 1))" 'mlflow*.service' service.port
  check_port "$database_port" 'postgresql@*.service' database.port
}

apply() {
  local problems
  problems=$(check)
  fail "the host does not meet the requirements, nothing was changed:"$'\n'"$problems"
}

remove() {
  return 0
}
