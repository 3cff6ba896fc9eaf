# shellcheck shell=bash
# The rehearsal of a migration: on a copy of the database, with the release that is to serve running on it.

require_room() {
  local lacking
  lacking=$(check_room_for_copy "$database")
  [[ -z $lacking ]] || fail "the migration needs a copy and a dump of the database, nothing was changed:"$'\n'"$lacking"
}

# starts_instead INSTANCE...: whether one of them starts at boot.
starts_instead() {
  local instance
  for instance; do
    if [[ -L $boot_directory/mlflow@$instance.service ]]; then
      echo yes
      return
    fi
  done
}

# late_instance: one that still answers requests, though another one has followed it.
late_instance() {
  local running followed instance open
  running=$(running_instances)
  # shellcheck disable=SC2086 # a list
  followed=$(starts_instead $running)
  [[ -n $followed ]] || return 0
  for instance in $running; do
    [[ -e $state_directory/mlflow-$instance.env && ! -L $boot_directory/mlflow@$instance.service ]] || continue
    open=$(connections_to "$instance")
    if ((open > 0)); then
      echo "mlflow@$instance.service"
      return
    fi
  done
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

end_rehearsal() {
  stop_instance rehearsal
  drop_scratch
  rm -rf "$artifacts"
  rm -f "$copy_password_file" # by which an interrupted rehearsal is seen
}

# Migrates a copy of the database and runs the new release on it, with artifacts of its own, on an address and a port to
# which nginx never leads.
rehearse() {
  local text port address
  say "rehearsing the migration on a copy of the database"
  text=$(sed "s/:$database:/:$scratch_database:/" "$password_file")
  at_exit end_rehearsal
  write_file "$copy_password_file" "$account:$account" 0600 "$text"
  make_directories
  rehearse_migration "$database" "$role" upgrade_schema "$copy_uri" "$copy_password_file"
  port=$(free_port 5000)
  address=$copy_address:$port
  start_instance rehearsal "$address"
  logged "trying MLflow $version on the copy" python3 -c "$smoke_test" "$address"
  stop_instance rehearsal
  exit_command_now # of rehearse_migration
  exit_command_now
}
