# shellcheck shell=bash
# Disk of the host.

# check_room DIRECTORY MEGABYTES: names a lack of free disk where the directory is or will be.
check_room() {
  local kilobytes
  kilobytes=$(free_kilobytes "$1")
  ((kilobytes / 1024 >= $2)) || problem "$1 has $((kilobytes / 1024)) MB free, the server needs $2 MB; make room or use a larger disk"
}

# free_kilobytes DIRECTORY: on the file system where it is or will be. Asked as root: without access to a
# directory, one would take it for missing and measure another disk.
free_kilobytes() {
  local table
  # shellcheck disable=SC2016 # for the other shell
  table=$(as_root sh -c 'existing=$1
    until [ -d "$existing" ]; do existing=$(dirname "$existing"); done
    df --output=avail -k "$existing"' sh "$1")
  table=${table##*$'\n'}
  [[ $table =~ ^\ *[0-9]+$ ]] || fail "df did not say how much is free in $1, but: $table"
  echo "$((table))"
}
