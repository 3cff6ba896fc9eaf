# shellcheck shell=bash
# The rehearsal of a migration: on a copy of the database, with the release that is to serve running on it.

require_room() {
  local lacking
  lacking=$(check_room_for_copy "$database")
  [[ -z $lacking ]] || fail "the migration needs a copy and a dump of the database, nothing was changed:"$'\n'"$lacking"
}

# late_instance: one that still answers requests, though another one, which starts at boot, has followed it.
late_instance() {
  local running instance open followed='' late=''
  running=$(running_instances)
  for instance in $running; do
    if [[ -L $boot_directory/mlflow@$instance.service ]]; then
      followed=yes
    elif [[ -e $state_directory/mlflow-$instance.env ]]; then
      open=$(connections_to "$instance")
      ((open == 0)) || late=mlflow@$instance.service
    fi
  done
  [[ -z $followed ]] || echo "$late"
}

# The port of such a one is needed after the migration: it is waited for before.
await_late_instance() {
  local late deadline=$((SECONDS + 600)) told=''
  while true; do
    late=$(late_instance)
    [[ -n $late ]] || return 0
    ((SECONDS < deadline)) ||
      fail "$late, which served before the last change, still answers requests, and its port is needed. Nothing was changed. Run this again when they are answered, or end them: 'sudo systemctl stop $late' on the host"
    [[ -n $told ]] || say "waiting for $late, which served before the last change and still answers requests, at most 10 minutes"
    told=yes
    sleep 0.2 # between two looks; the last answer is the condition
  done
}

# free_port FIRST: the first one from there on where nothing listens.
free_port() {
  local free=$1 taken
  while true; do
    taken=$(listener_inode "$free")
    [[ -n $taken ]] || break
    ((free += 1))
  done
  echo "$free"
}

end_rehearsal() {
  stop_instance rehearsal
  drop_scratch
  rm -rf "$artifacts"
  rm -f "$copy_password_file" # by which an interrupted rehearsal is seen
}

# Migrates a copy of the database and runs the new release on it, with artifacts of its own, on an address and a port to
# which nginx never leads.
rehearse() {
  local text spare
  say "rehearsing the migration on a copy of the database"
  text=$(sed "s/:$database:/:$scratch_database:/" "$password_file")
  at_exit end_rehearsal
  write_file "$copy_password_file" "$account:$account" 0600 "$text"
  make_directories
  rehearse_migration "$database" "$role" upgrade_schema "$copy_uri" "$copy_password_file"
  spare=$(free_port 5000)
  start_instance rehearsal "$spare"
  logged "trying MLflow $version on the copy" python3 -c "$smoke_test" "$address:$spare"
  stop_instance rehearsal
  exit_command_now # of rehearse_migration
  exit_command_now
}
