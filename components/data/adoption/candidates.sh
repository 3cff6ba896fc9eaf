# shellcheck shell=bash
# Which servers are to be adopted.

# has_schema DATABASE: whether it is there, with tables of MLflow.
has_schema() {
  local exists
  exists=$(database_exists "$1")
  [[ -z $exists ]] || has_rows "$1" "select 1 where to_regclass('public.alembic_version') is not null"
}

# is_empty DATABASE: whether nothing was ever made in it. The first 16384 numbers are PostgreSQL's own.
is_empty() {
  has_rows "$1" "select 1 where not exists (
    select oid from pg_class where oid >= 16384 union all select oid from pg_proc where oid >= 16384
    union all select oid from pg_type where oid >= 16384 union all select oid from pg_largeobject_metadata
    union all select oid from pg_namespace where oid >= 16384 and nspname <> 'public' and nspname not like 'pg\_%')"
}

# runs UNIT: or is about to.
runs() {
  local state
  state=$(unit_property "$1" ActiveState)
  case $state in inactive | failed) ;; *) echo yes ;; esac
}

# Unmanaged servers that run or start at boot.
live_servers() {
  local units unit running at_boot
  units=$(unmanaged_servers)
  for unit in $units; do
    running=$(runs "$unit")
    at_boot=$(unit_property "$unit" UnitFileState)
    [[ -z $running && $at_boot != enabled* ]] || printf '%s\n' "$unit"
  done
}

# servers_to_adopt: once ours has a database of its own, others are other people's.
servers_to_adopt() {
  local units unit ours its
  units=$(live_servers)
  ours=$(has_schema "$database")
  for unit in $units; do
    its=$(database_of "$unit")
    [[ -n $ours && $its != "$database" ]] || printf '%s\n' "$unit"
  done
}
