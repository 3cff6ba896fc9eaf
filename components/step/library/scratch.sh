# shellcheck shell=bash
# The scratch copy of a database, on which a migration is rehearsed.

# One constant name, because pg_hba.conf names it; what is ours under that name carries the mark.
readonly scratch_database=mlflow_vps_rehearsal
readonly scratch_mark='mlflow-vps: a copy on which a migration is rehearsed'

# make_scratch ROLE: an empty database that the role owns, until this process ends.
make_scratch() {
  local foreign
  drop_scratch # of a run that was interrupted
  foreign=$(database_exists "$scratch_database")
  [[ -z $foreign ]] ||
    fail "database $scratch_database, whose name is needed for a rehearsal, was not made by this program. Nothing was changed. Rename or drop it, then run again"
  at_exit drop_scratch
  sql postgres <<SQL
create database "$scratch_database" owner "$1" encoding 'UTF8' locale 'C.UTF-8' template template0;
comment on database "$scratch_database" is '$scratch_mark';
SQL
}

# copy_to_scratch DATABASE: everything of it as it is, whoever owns it, but for subscriptions: a database that has one
# cannot be dropped. In UTF-8, whatever it is in: fails where what SQL_ASCII has let in is none.
copy_to_scratch() {
  dump_database "$1" --encoding UTF8 | as_postgres pg_restore --no-password --port "$database_port" --no-subscriptions --exit-on-error --dbname "$scratch_database"
}

# copy_database DATABASE: the same, with its output in the log.
copy_database() {
  logged "copying database $1 into one in UTF8; it was not changed" copy_to_scratch "$1"
}

# rehearse_migration DATABASE ROLE COMMAND...: runs this migration of the scratch copy, which holds what the database does and
# is the role's. It is there until this process ends, or until 'exit_command_now'.
rehearse_migration() {
  make_scratch "$2"
  copy_database "$1"
  logged "rehearsing the migration (mlflow db upgrade on a copy)" "${@:3}"
}

# One that does not carry the mark stays.
drop_scratch() {
  sql postgres <<SQL
select format('drop database %I with (force)', datname) from pg_database
where datname = '$scratch_database' and shobj_description(oid, 'pg_database') = '$scratch_mark' \\gexec
SQL
}
