# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# Processes and their sockets, as files below /proc.

# shellcheck disable=SC2034 # for who reads this file
units=$WORLD/.state/units

# A logical clock, for a test is done within milliseconds: what was written until now is older than the process that
# starts now, and newer than those that started before. Hours lie between two starts.
started_now() {
  read -r hour <"$WORLD/.state/hour"
  hour=$((hour + 1))
  echo "$hour" >"$WORLD/.state/hour"
  read -r built <"$WORLD/.state/built"
  /usr/bin/find "$WORLD/etc" "$WORLD/run/mlflow-vps" "$WORLD"/opt/mlflow/releases/*/.contents -newer "$WORLD/.state/built" -exec /usr/bin/touch --no-dereference --date "@$((built - 900000 + hour * 3600))" {} + 2>/dev/null
  echo "$1 (x) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 $((100000000 + (hour * 3600 + 1800) * 100)) 0" >"$WORLD/proc/$1/stat"
}

# start_process ID COMMAND_LINE PORT...: with a NUL after each word of the command line.
start_process() {
  id=$1
  /bin/mkdir -p "$WORLD/proc/$id/fd" "$WORLD/proc/$id/task/$id"
  [ -e "$WORLD/proc/$id/root" ] || /bin/ln -s / "$WORLD/proc/$id/root"
  [ -e "$WORLD/proc/$id/exe" ] || /bin/ln -s /bin/sh "$WORLD/proc/$id/exe"
  # shellcheck disable=SC2086 # split into its words
  printf '%s\0' $2 >"$WORLD/proc/$id/cmdline"
  echo "${2%% *}" >"$WORLD/proc/$id/comm"
  echo "0::/system.slice/$unit" >"$WORLD/proc/$id/cgroup"
  : >"$WORLD/proc/$id/task/$id/children"
  : >"$WORLD/proc/$id/maps"
  started_now "$id"
  shift 2
  for port; do /bin/ln -sfn "socket:[$((70000 + port))]" "$WORLD/proc/$id/fd/$port"; done
  list_sockets
}

end_process() {
  /bin/rm -rf "$WORLD/proc/$1"
  list_sockets
}

# The kernel's table of TCP sockets, by the descriptors of all processes.
list_sockets() {
  echo '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode' >"$WORLD/proc/net/tcp"
  for descriptor in "$WORLD"/proc/[0-9]*/fd/*; do
    case ${descriptor##*/} in \*) continue ;; esac
    port=${descriptor##*/}
    printf '   0: 0100007F:%04X 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 %d 1\n' "$port" $((70000 + port))
  done >>"$WORLD/proc/net/tcp"
}
