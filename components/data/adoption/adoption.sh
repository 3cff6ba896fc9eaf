# shellcheck shell=bash
# An unmanaged MLflow server: its database and artifacts become ours where they are, its unit and site are disabled, its
# files stay. Nothing of it is changed before a copy of its database could be migrated.

# Holds what is known of the server from the first change to the last, so that an interrupted run can be resumed.
readonly marker=$state_directory/adoption

check() {
  local units unit answers refusal
  if [[ -e $marker ]]; then
    read -r unit <"$marker"
    problem "the adoption of $unit was interrupted"
    return
  fi
  units=$(live_servers)
  [[ -n $units ]] || return 0
  answers=$(database_answers)
  if [[ -z $answers ]]; then
    problem "PostgreSQL does not answer on port $database_port, so it cannot be told whether ${units//$'\n'/ } is to be adopted"
    return
  fi
  refusal=$(superuser_refusal)
  if [[ -n $refusal ]]; then
    problem "PostgreSQL does not answer its superuser, so it cannot be told whether ${units//$'\n'/ } is to be adopted: ${refusal//$'\n'/ }"
    return
  fi
  units=$(servers_to_adopt)
  for unit in $units; do
    problem "$unit, an unmanaged MLflow server, is to be adopted"
  done
}

write_marker() {
  write_file "$marker" root:root 0644 "$unit"$'\n'"$old_database"$'\n'"$old_port"$'\n'"$old_artifacts"$'\n'"$old_root"
}
read_marker() {
  local -a known
  mapfile -t known <"$marker"
  ((${#known[@]} == 5)) || fail "$marker is damaged: it must hold five lines, for unit, database, port, directory of the artifacts and how runs name it"
  unit=${known[0]} old_database=${known[1]} old_port=${known[2]} old_artifacts=${known[3]} old_root=${known[4]}
}

# disable_server UNIT: one that has served our database.
disable_server() {
  require_own_sites "$1"
  say "disabling $1, whose database is managed already"
  logged "disabling $1" systemctl disable --now "$1"
  disable_sites
}

apply() {
  local servers unit old_database old_port old_artifacts old_root
  start_database
  if [[ -e $marker ]]; then
    read_marker
    say "resuming the adoption of $unit"
  else
    servers=$(servers_to_adopt)
    [[ -n $servers ]] || return 0
    [[ $servers != *$'\n'* ]] || fail "there are several unmanaged MLflow servers: ${servers//$'\n'/ }. Nothing was changed. Stop all but the one to adopt ('systemctl disable --now …' on the host), then run again"
    unit=$servers
    read_server "$unit"
    if [[ $old_database == "$database" && -e $password_file ]]; then
      disable_server "$unit"
      return
    fi
    say "adopting $unit: database $old_database, artifacts $old_artifacts"
    require_adoptable "$unit"
    rehearse
    write_marker
  fi
  make_account "$account"
  stop_server "$unit"
  take_keys "$unit"
  take_database
  take_artifacts
  rename_artifacts
  disable_sites
  rm "$marker"
}

remove() {
  return 0
}
