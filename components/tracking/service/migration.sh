# shellcheck shell=bash
# Bringing the database to the release's schema: rehearsed on a copy, dumped, then migrated.

readonly copy_uri=${store_uri%/*}/$scratch_database
readonly copy_password_file=$state_directory/pgpass-rehearsal
readonly copy_artifacts=$temporary/rehearsal
readonly copy_address=127.0.0.2 # where nginx never leads to

# upgrade_schema URI PASSWORD_FILE: by MLflow itself, with the service's own rights.
upgrade_schema() {
  as_user "$account" env "TMPDIR=$temporary" "PGPASSFILE=$2" "$release/bin/mlflow" db upgrade "$1"
}

require_room() {
  local lacking
  lacking=$(check_room_for_copy "$database")
  [[ -z $lacking ]] || fail "the migration needs a copy and a dump of the database, nothing was changed:"$'\n'"$lacking"
}

end_rehearsal() {
  stop_instance rehearsal
  drop_scratch
  rm -rf "$copy_artifacts"
  rm -f "$copy_password_file" # by which an interrupted rehearsal is seen
}

# rehearse PORT: migrates a copy of the database and runs the new release on it, with artifacts of its own, on an address
# of its own: nginx sends requests to the port where the instance that serves is gone.
rehearse() {
  local text address=$copy_address:$1
  say "rehearsing the migration on a copy of the database"
  text=$(sed "s/:$database:/:$scratch_database:/" "$password_file")
  at_exit end_rehearsal
  write_file "$copy_password_file" "$account:$account" 0600 "$text"
  rehearse_migration "$database" "$role" upgrade_schema "$copy_uri" "$copy_password_file"
  make_directory "$copy_artifacts" "$account:$account" 0700
  start_instance rehearsal "$address" "MLFLOW_HOST=$copy_address
MLFLOW_PORT=$1
MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
MLFLOW_SERVER_ALLOWED_HOSTS=$copy_address:*
MLFLOW_BACKEND_STORE_URI=$copy_uri
PGPASSFILE=$copy_password_file
MLFLOW_ARTIFACTS_DESTINATION=$copy_artifacts"
  logged "trying MLflow $version on the copy" python3 -c "$smoke_test" "$address"
  stop_instance rehearsal
  exit_command_now # of rehearse_migration
  exit_command_now
}

# The migration is one transaction. It and the requests wait for each other's locks; it gives up first, before
# PostgreSQL would end a request (deadlock_timeout, 1 s), and is tried again.
migrate_database() {
  local tries=20 output cause code
  local -a migration=(upgrade_schema "$store_uri" "$password_file")
  say "migrating the database to MLflow $version"
  while true; do
    code=0
    output=$(PGOPTIONS='-c lock_timeout=700ms' "${migration[@]}" 2>&1) || code=$?
    ((code != 0)) || return 0
    logged "migrating the database (mlflow db upgrade)" cat <<<"$output"
    if [[ $output != *'lock timeout'* ]] || ((--tries == 0)); then
      cause=$(found --extended-regexp '^[[:alnum:]_.]+(Error|Exception): ' <<<"$output" | tail -n 1)
      fail "migrating the database; it is unchanged: ${cause:-${output##*$'\n'}}. More in $log_file on the host"
    fi
  done
}

# migrate PORT: brings the database to the release's schema, tried on this port before.
migrate() {
  local schema refusal known
  read_schema
  [[ -z $refusal ]] || fail "the database does not answer: $refusal"
  known=$(<"$release/schema")
  # A new database gets its tables from the first start.
  [[ -n $schema && $schema != "$known" ]] || return 0
  require_upgrade_path "$schema"
  require_room
  vacate "$1"
  rehearse "$1"
  keep_dump "$database" "$database" "$version"
  migrate_database
}
