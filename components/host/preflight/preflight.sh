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
    127) problem "sudo is not installed, and $user is not root; as root: apt-get install -y sudo && echo '$user ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/$user" ;;
    *) problem "$user may not use sudo without a password; as root: echo '$user ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/$user (sudo says: ${refusal//$'\n'/ })" ;;
  esac
}

# holders_of INODE...: what has each of these sockets open: 'socket INODE', then the name and the control groups of the first
# such process. Of others' processes only root may know it; what find could not read are processes that have ended.
holders_of() {
  # shellcheck disable=SC2016 # for the other shell
  as_root sh -c 'left=" $* "
    find /proc -maxdepth 3 -path "/proc/[0-9]*/fd/*" -lname "socket:*" -printf "%h %l\n" 2>/dev/null |
      while read -r process socket; do
        socket=${socket#*"["} socket=${socket%"]"} process=${process%/fd}
        case $left in *" $socket "*) ;; *) continue ;; esac
        left=${left%%" $socket "*}" "${left#*" $socket "}
        echo "socket $socket"
        cat "$process/comm" "$process/cgroup" 2>/dev/null || true
      done' sh "$@"
}

# find_holders PORT...: puts into 'holders', by port, the systemd service (or else the program) that listens there; a port
# that is free is not in it.
find_holders() {
  local sockets port inode found line
  local -A ports=()
  sockets=$(listeners)
  while read -r port inode; do
    [[ -z $port || " $* " != *" $((16#$port)) "* ]] || ports[$inode]=$((16#$port))
  done <<<"$sockets"
  ((${#ports[@]} > 0)) || return 0
  found=$(holders_of "${!ports[@]}")
  for inode in "${!ports[@]}"; do holders[${ports[$inode]}]=; done
  while read -r line; do
    case $line in
      'socket '*) port=${ports[${line#socket }]} ;;
      *.service) holders[$port]=${line##*/} ;;
      *:*) ;; # another control group
      *) holders[$port]=${holders[$port]:-$line} ;;
    esac
  done <<<"$found"
}

# check_port PORT UNIT_PATTERN KEY: free, or ours, or a server's that is adopted before.
check_port() {
  local servers holder
  [[ -n ${holders[$1]+taken} ]] || return 0
  holder=${holders[$1]:-an unknown program}
  # shellcheck disable=SC2053 # a pattern on purpose
  [[ $holder != $2 ]] || return 0
  servers=$(unmanaged_servers)
  [[ $'\n'$servers$'\n' == *$'\n'"$holder"$'\n'* ]] ||
    problem "port $1 is taken by $holder; stop that or set $3 to a free port"
}

check_system() {
  local key value id='' version='' name='' architecture memory
  while IFS='=' read -r key value; do
    case $key in
      ID) id=${value//\"/} ;;
      VERSION_ID) version=${value//\"/} ;;
      PRETTY_NAME) name=${value//\"/} ;;
    esac
  done </etc/os-release
  [[ " ${systems[*]} " == *" $id-$version "* ]] ||
    problem "the system is ${name:-unknown}; install one of: ${systems[*]}"
  architecture=$(uname -m)
  [[ $architecture == x86_64 || $architecture == aarch64 ]] ||
    problem "the architecture is $architecture; use a host with x86_64 or aarch64"
  [[ -d /run/systemd/system ]] || problem "systemd is not running; use a VPS or VM, not a plain container"
  memory=$(memory_mb)
  ((memory >= memory_needed)) || problem "the host has $memory MB of memory, the server needs $memory_needed MB; use a larger one"
}

# Compiled parts of MLflow's requirements (NumPy) need x86-64-v2. Virtual machines may hide it: the first processor tells.
check_processor() {
  local name flags='' feature lacking=''
  while read -r name _ flags; do [[ $name != flags ]] || break; done </proc/cpuinfo
  [[ $name == flags ]] || return 0 # not x86
  for feature in cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3; do
    [[ " $flags " == *" $feature "* ]] || lacking+="${lacking:+ }$feature"
  done
  [[ -z $lacking ]] ||
    problem "the processor lacks $lacking (x86-64-v2), without which MLflow does not start; in the settings of the virtual machine choose the CPU type 'host', or use another VPS"
}

# What of the service's unit takes a mount namespace; but PrivateTmp, which leaves traces in /tmp.
readonly sandbox=(ProtectSystem=strict PrivateDevices=true ProtectProc=invisible ProcSubset=pid
  ProtectControlGroups=true ProtectKernelTunables=true)

# unit_refusal PROPERTY...: what systemd says against a service with these properties; nothing when it runs. With the sandbox it
# must also be in force.
unit_refusal() {
  # shellcheck disable=SC2016 # for the other shell
  as_root sh -c 'trial=:
    [ $# = 0 ] || trial="[ ! -w /usr ]"
    said=$(systemd-run --collect --service-type=oneshot "$@" sh -c "$trial" 2>&1) && exit
    unit=$(printf "%s" "$said" | sed -n "s/.*\(run-[a-z0-9-]*\.service\).*/\1/p;q")
    if [ -n "$unit" ]; then journalctl --unit "$unit" --lines 20 --no-pager --output cat; fi | grep -i -m 1 namespac ||
      echo "${said:-nothing}"' sh "${@/#/--property=}"
}

# check_sandbox: containers may allow no mount namespaces. systemd then starts no such service, or one without its sandbox.
check_sandbox() {
  local refusal plain
  refusal=$(unit_refusal "${sandbox[@]}")
  [[ -n $refusal ]] || return 0
  plain=$(unit_refusal)
  [[ -z $plain ]] || return 0 # it is something else, which another step names
  problem "services get no mount namespaces here, and MLflow's needs one for its sandbox (systemd says: ${refusal//$'\n'/ }); use a VPS that is a virtual machine (KVM), or have nesting allowed for this container"
}

check_clock() {
  local now difference direction=fast
  # The probe says what time it is where the program runs; a command does not, and the probe has looked before it.
  [[ -n ${client_time:-} ]] || return 0
  printf -v now '%(%s)T' -1
  difference=$((now - client_time))
  ((difference > 0)) || direction=slow
  ((difference > -120 && difference < 120)) ||
    problem "the clock is ${difference#-} s $direction; turn on time synchronisation (timedatectl set-ntp true)"
}

check() {
  local refusal
  local -A holders=()
  check_owner
  check_system
  check_processor
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
    check_sandbox
  fi
  check_room "$artifacts" "$room_running"
  find_holders "$proxy_port" "$http_port" "$service_port" "$((service_port + 1))" "$database_port"
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
