# shellcheck shell=bash
# The migration of the database, by MLflow itself.

# upgrade_schema URI PASSWORD_FILE: with the service's own rights.
upgrade_schema() {
  as_user "$account" env "TMPDIR=$temporary" "PGPASSFILE=$2" "$release/bin/mlflow" db upgrade "$1"
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
