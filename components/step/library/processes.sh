# shellcheck shell=bash
# Processes, and what they have read.

# read_stat PROCESS: puts its fields of /proc/PROCESS/stat, from its state on (proc(5), field 3), into 'fields'; nothing when
# it has ended.
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

# now_in_ticks: this moment, 'MILLISECONDS TICKS', by a process that starts now. The time since boot would not do: in a
# container it is the container's, and the ticks are the host's.
now_in_ticks() {
  local before after ticks tries=50
  while true; do
    before=${EPOCHREALTIME/[.,]/}
    ticks=$(start_of self)
    after=${EPOCHREALTIME/[.,]/}
    # A busy machine may interrupt this in between.
    if ((after - before < 10000 || --tries == 0)); then break; fi
  done
  echo "$((after / 1000)) $ticks"
}

# older_than PROCESS FILE...: whether it started before the last change of one of the files. Ticks (0.01 s on every machine
# that is supported) are the kernel's finest unit; a service is never restarted within 0.05 s of writing its files.
older_than() {
  local moment milliseconds ticks started file times changed
  local -a fields there=()
  for file in "${@:2}"; do
    [[ ! -e $file ]] || there+=("$file")
  done
  ((${#there[@]} > 0)) || return 0
  moment=$(now_in_ticks)
  read -r milliseconds ticks <<<"$moment"
  read_stat "$1"
  [[ -n ${fields[19]:-} ]] || return 0
  started=$((milliseconds - (ticks - fields[19]) * 10))
  times=$(stat -c %.3Y "${there[@]}")
  for changed in $times; do
    if ((${changed/./} > started + 50)); then
      echo yes
      return
    fi
  done
}

# command_line_of PROCESS: words separated by blanks; nothing when it has ended.
command_line_of() {
  local -a words=()
  { mapfile -d '' -t words <"/proc/$1/cmdline"; } 2>/dev/null || true # it may end at any time
  ((${#words[@]} == 0)) || printf '%s ' "${words[@]}"
}
