# shellcheck shell=bash
# Stopping the server for good, with a dump as the way back.

# stop_server UNIT: for good, once a dump is the way back. When there can be none, it serves as before.
stop_server() {
  local exists status=0
  exists=$(database_exists "$old_database")
  # Without it, an interrupted run has come further.
  [[ -z $exists ]] || attempt stop_and_dump "$1"
  if ((status != 0)); then
    say "starting $1 again"
    logged "starting $1 again" systemctl start "$1"
    rm "$marker"
    exit 1
  fi
  logged "disabling $1" systemctl disable --now "$1"
}

# Whoever else uses the database would be cut off, or write on beside us. An interrupted run may have made the dump,
# unless the server has run since.
stop_and_dump() {
  local deadline=$((SECONDS + 15)) ran schema others dump=
  ran=$(runs "$1")
  say "stopping $1"
  logged "stopping $1" systemctl stop "$1"
  while true; do
    others=$(sessions "$old_database")
    [[ -n $others ]] || break
    ((SECONDS < deadline)) ||
      fail "database $old_database is in use by others than $1: ${others//$'\n'/ }. Nothing was changed, and $1 runs again. End them, then run again"
    sleep 0.2 # between two looks; no session is the condition
  done
  schema=$(has_schema "$old_database")
  [[ -n $schema ]] || return 0
  [[ ! -d $dumps ]] || dump=$(find "$dumps" -name '*-before-adoption.dump' -newer "$marker")
  [[ -n $dump && -z $ran ]] || keep_dump "$old_database" "$database" adoption
}
