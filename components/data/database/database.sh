# shellcheck shell=bash
# Database and owner role in the distribution's PostgreSQL, reached with scram-sha-256 only.

check() {
  local answers role_problem owner password_problems refusal=''
  local -A remembered=()
  answers=$(database_answers)
  if [[ -z $answers ]]; then
    problem "PostgreSQL does not answer on port $database_port"
    return
  fi
  check_account "$account"
  ask_all
  if [[ -n $refusal ]]; then
    problem "PostgreSQL does not answer its superuser: ${refusal//$'\n'/ }"
    return
  fi
  check_server_settings
  check_access_file
  role_problem=$(check_role)
  [[ -z $role_problem ]] || problem "$role_problem"
  owner=$(owner_of_database)
  check_database "$owner"
  password_problems=$(check_file "$password_file" "$account:$account" 0600 "$password_line")
  [[ -z $password_problems ]] || problem "${password_problems/%was changed/does not hold the password}"
  if [[ -z $role_problem && -n $owner ]]; then
    refusal=$(login_refusal)
    [[ -z $refusal ]] || problem "role $role cannot log in with its password: $refusal"
  fi
}

apply() {
  local wrong
  start_database
  require_convertible
  make_account "$account"
  write_settings_file
  write_access_file "$access_lines"$'\n'
  load_settings
  enforce_settings
  make_role
  make_database
  wrong=$(check_file "$password_file" "$account:$account" 0600 "$password_line")
  [[ -n $wrong ]] || wrong=$(login_refusal)
  [[ -z $wrong ]] || set_password
}

remove() {
  local answers role_exists file
  if ! command -v pg_lsclusters >/dev/null; then
    rm -f "$password_file" "$password_file.new"
    say "PostgreSQL is no longer installed, so there is no database to keep"
    return
  fi
  answers=$(database_answers)
  [[ -n $answers ]] || fail "PostgreSQL does not answer on port $database_port, so its data cannot be looked at: start it, then destroy again"
  require_superuser
  file=$(settings_file)
  drop_scratch # of a rehearsal that was killed
  role_exists=$(has_rows postgres "select 1 from pg_roles where rolname = '$role'")
  if [[ $delete_data == true ]]; then
    require_droppable_role
    sql postgres <<<"drop database if exists \"$database\" with (force)"
    sql postgres <<<"drop role if exists \"$role\""
    say "deleted database $database and its role, as data.deleteOnDestroy says"
  elif [[ -n $role_exists ]]; then
    sql postgres <<<"alter role \"$role\" nologin password null"
    say "kept: database $database in PostgreSQL on port $database_port (its role $role can no longer log in)"
  fi
  rm -f "$password_file" "$password_file.new" "$file"
  write_access_file ''
  load_settings
}
