# shellcheck shell=bash
# The schema that the database has, and whether there is a way from it to the release's.

# read_schema: $schema is the newest migration in the database, nothing in a new one; $refusal is why there is no answer.
read_schema() {
  local psql code=0
  refusal=''
  psql=$(client psql)
  schema=$(
    PGPASSFILE=$password_file "$psql" --no-psqlrc --no-password --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 \
      "postgresql://$role@$database_address:$database_port/$database" 2>&1 <<'SQL'
select to_regclass('public.alembic_version') is not null as present \gset
\if :present
select version_num from alembic_version;
\endif
SQL
  ) || code=$?
  ((code == 0)) || refusal=${schema:-psql exited $code}
}

require_upgrade_path() {
  local known=("$release"/lib/python3*/site-packages/mlflow/store/db_migrations/versions/"$1"_*.py) found_dumps
  [[ ! -e ${known[0]} ]] || return 0
  found_dumps=$(newest_last "$dumps" -name '*.dump')
  fail "the database was migrated by a newer MLflow than $version, and there is no migration back. Nothing was changed. Set mlflow.version to the newer one again, or restore a dump from before its migration and lose what was written since (docs/operations.md, 'Upgrades'). Dumps on the host: ${found_dumps//$'\n'/ }"
}
