# shellcheck shell=bash
# --- processes and what they have read -----------------------------------------------------------------------------

# read_stat PROCESS: puts into 'fields' what the kernel tells of it, from its state on (proc(5), field 3); nothing when it
# has ended.
read_stat() {
  local line
  fields=()
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 0
  read -r -a fields <<<"${line##*) }"
}

# start_of PROCESS: when it started, in the kernel's clock ticks; nothing when it has ended.
start_of() {
  local -a fields
  read_stat "$1"
  [[ -z ${fields[19]:-} ]] || echo "${fields[19]}"
}

# is_halted PROCESS: by SIGSTOP.
is_halted() {
  local -a fields
  read_stat "$1"
  [[ ${fields[0]:-} != T ]] || echo yes
}

# now_in_ticks: this moment, 'MILLISECONDS TICKS', by a process that starts now. The time since boot would not do: in a
# container it is the container's, and the ticks are the host's.
now_in_ticks() {
  local before after ticks tries=50
  while true; do
    before=${EPOCHREALTIME/[.,]/}
    ticks=$(start_of self)
    after=${EPOCHREALTIME/[.,]/}
    # A busy machine may halt this in between.
    if ((after - before < 10000 || --tries == 0)); then break; fi
  done
  echo "$((after / 1000)) $ticks"
}

# older_than PROCESS FILE...: whether it started before one of the files came to be as it is now. Ticks (0.01 s) are the
# finest that the kernel tells; a service is never restarted within 0.05 s of writing its files.
older_than() {
  local moment milliseconds ticks start per_second started file changed
  moment=$(now_in_ticks)
  read -r milliseconds ticks <<<"$moment"
  start=$(start_of "$1")
  [[ -n $start ]] || return 0
  per_second=$(getconf CLK_TCK)
  started=$((milliseconds - (ticks - start) * 1000 / per_second))
  shift
  for file in "$@"; do
    [[ -e $file ]] || continue
    changed=$(stat -c %.3Y "$file")
    if ((${changed/./} > started + 50)); then
      echo yes
      return
    fi
  done
}

# socket_tables: puts into 'tables' the files in which the kernel lists TCP sockets.
socket_tables() {
  tables=(/proc/net/tcp)
  [[ ! -e /proc/net/tcp6 ]] || tables+=(/proc/net/tcp6) # is not there without IPv6
}

# listener_inode PORT: of the socket that takes connections there; nothing when the port is free.
listener_inode() {
  local pattern
  local -a tables
  socket_tables
  printf -v pattern ':%04X$' "$1"
  awk -v port="$pattern" '$2 ~ port && $4 == "0A" && !inode { inode = $10 } END { print inode }' "${tables[@]}"
}

# connections_to PORT: how many a server on that port has open.
connections_to() {
  local pattern
  local -a tables
  socket_tables
  printf -v pattern ':%04X$' "$1"
  awk -v port="$pattern" '$2 ~ port && $4 == "01" { open++ } END { print open + 0 }' "${tables[@]}"
}

# processes_of UNIT: those in its control group.
processes_of() {
  local group root
  group=$(unit_property "$1" ControlGroup)
  [[ -n $group ]] || return 0 # it has ended
  # One hierarchy for everything; or, with version 1 of control groups, systemd's own beside others.
  for root in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    if [[ -e $root$group/cgroup.procs ]]; then
      cat "$root$group/cgroup.procs"
      return
    fi
  done
  fail "the control group of $1, $group, is not below /sys/fs/cgroup"
}

# maps_of PROCESS: the files that it holds in memory; nothing when it has ended.
maps_of() {
  local maps code=0
  maps=$(cat "/proc/$1/maps" 2>&1) || code=$?
  if ((code == 0)); then
    echo "$maps"
  elif [[ -e /proc/$1/exe ]]; then # which one that ends loses first
    fail "$maps"
  fi
}

# command_line_of PROCESS: words separated by blanks; nothing when it has ended.
command_line_of() {
  { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null || true # it may end at any time
}
