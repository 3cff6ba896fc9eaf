# shellcheck shell=bash
# A database that others have made may be in another encoding than UTF-8, in which MLflow cannot write all that users do.

encoding_of_database() {
  sql postgres <<<"select pg_encoding_to_char(encoding) from pg_database where datname = '$database'"
}

# take_in_utf8: one that is taken over, from people or from a server that was removed, is converted before anything of ours
# uses it. One that is ours already stays as it is, for that would interrupt the service.
take_in_utf8() {
  local encoding
  [[ ! -e $password_file ]] || return 0
  encoding=$(encoding_of_database)
  [[ -z $encoding || $encoding == UTF8 ]] || convert_database "$encoding"
}

# convert_database ENCODING: by a copy in UTF-8, which takes its place.
convert_database() {
  local limit users lacking
  say "database $database is in $1, so it is converted to UTF8"
  lacking=$(check_room_for_copy "$database")
  [[ -z $lacking ]] || fail "database $database is in $1 and must be converted to UTF8, for which it is copied and dumped. Nothing was changed:"$'\n'"$lacking"
  limit=$(sql postgres <<<"select coalesce(nullif(datconnlimit, 0), -1) from pg_database where datname = '$database'")
  at_exit limit_connections "$limit"
  limit_connections 0
  users=$(sessions "$database")
  [[ -z $users ]] || fail "database $database is in $1 and must be converted to UTF8, but is in use by ${users//$'\n'/ }. Nothing was changed. End that, then run again"
  make_scratch "$role"
  logged "copying database $database, which is in $1, into one in UTF8; it was not changed" copy_to_scratch "$database"
  keep_dump "$database" "$database" conversion
  swap_with_scratch
  exit_command_now # drops what is the scratch copy now: the database of before
  exit_command_now
}

limit_connections() { sql postgres <<<"alter database \"$database\" connection limit $1"; }

swap_with_scratch() {
  sql postgres <<SQL
begin;
alter database "$database" rename to "$scratch_database in turn";
alter database "$scratch_database" rename to "$database";
alter database "$scratch_database in turn" rename to "$scratch_database";
comment on database "$database" is null;
comment on database "$scratch_database" is '$scratch_mark';
commit;
SQL
}
