# shellcheck shell=bash
# Dumps of the database from before a change.

readonly dumps=/var/backups/mlflow-vps

# check_room_for_copy DATABASE: names a lack of disk for a copy of it, what its migration may add, and a dump.
check_room_for_copy() {
  local bytes data where
  bytes=$(sql postgres <<<"select pg_database_size('$1')")
  data=$(sql postgres <<<'show data_directory')
  for where in "$data" "$dumps"; do check_room "$where" $((3 * bytes / 1024 / 1024 + 300)); done
}

# keep_dump DATABASE NAME CHANGE: dumps it before this change, under the name that it has with us; whole, or not at all. One
# that was made before the same change, by a run that failed, goes; the way back from an adoption never does.
keep_dump() {
  local now file status reason
  now=$(date --utc +%Y%m%dT%H%M%SZ)
  file=$dumps/$2-$now-before-$3.dump
  rm -f "$dumps"/*.partial # of a run that was interrupted
  at_exit rm -f "$file.partial"
  say "dumping the database to $file"
  install -d -m 0750 "$log_directory"
  attempt write_dump "$1" "$file" 2>>"$log_file"
  if ((status != 0)); then
    reason=$(tail -n 2 "$log_file")
    fail "the database could not be dumped, so it was not changed: $reason"
  fi
  exit_command_now
  [[ $3 == adoption ]] || find "$dumps" -name "$2-????????T??????Z-before-$3.dump" ! -path "$file" -delete
}

write_dump() {
  trap - ERR # the log ends with what pg_dump said
  install -d -m 0700 "$dumps"
  umask 077
  dump_database "$1" >"$2.partial"
  sync "$2.partial"
  mv "$2.partial" "$2"
}
