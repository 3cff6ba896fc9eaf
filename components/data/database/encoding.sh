# shellcheck shell=bash
# A database that others have made may be in another encoding than UTF-8, in which MLflow cannot store every character.

encoding_of_database() {
  sql postgres <<<"select pg_encoding_to_char(encoding) from pg_database where datname = '$database'"
}

# Whether the service uses it already: its password is in the file, or where that was deleted, the role has one and the
# database is open to nobody else. A removal takes the password away; people's own role may have one, with an open database.
is_in_service() {
  if [[ -e $password_file ]]; then
    echo yes
  else
    has_rows postgres "select 1 from pg_database d join pg_authid r on r.oid = d.datdba where d.datname = '$database' and r.rolname = '$role' and r.rolcanlogin and r.rolpassword is not null and not has_database_privilege('public', d.oid, 'connect')"
  fi
}

# require_convertible: where a database will be converted, that it can be; asked before anything of the cluster is changed, for
# its access rules let nobody else in.
require_convertible() {
  local in_service encoding lacking
  in_service=$(is_in_service)
  [[ -z $in_service ]] || return 0
  drop_scratch # the database of before, where a conversion was killed at its end
  encoding=$(encoding_of_database)
  [[ -n $encoding && $encoding != UTF8 ]] || return 0
  lacking=$(check_room_for_copy "$database")
  [[ -z $lacking ]] || fail "database $database is in $encoding and must be converted to UTF8, for which it is copied and dumped. Nothing was changed:"$'\n'"$lacking"
  require_unused "$encoding"
}

# take_in_utf8: one that is taken over, from people or from a server that was removed, is converted before anything of ours
# uses it. One that is ours already stays as it is, for that would interrupt the service.
take_in_utf8() {
  local in_service encoding
  in_service=$(is_in_service)
  [[ -z $in_service ]] || return 0
  encoding=$(encoding_of_database)
  [[ -z $encoding || $encoding == UTF8 ]] || convert_database "$encoding"
}

# convert_database ENCODING: by a copy in UTF-8, which takes its place.
convert_database() {
  local limit
  say "database $database is in $1, so it is converted to UTF8"
  require_unused "$1"
  limit=$(sql postgres <<<"select coalesce(nullif(datconnlimit, 0), -1) from pg_database where datname = '$database'")
  at_exit limit_connections "$limit"
  limit_connections 0
  require_unused "$1" # by one who came in between
  make_scratch "$role"
  copy_database "$database"
  keep_dump "$database" "$database" conversion
  swap_with_scratch
  exit_command_now # drops what is the scratch copy now: the database of before
  exit_command_now
}

# require_unused ENCODING
require_unused() {
  local users
  users=$(sessions "$database")
  [[ -z $users ]] || fail "database $database is in $1 and must be converted to UTF8, but is in use by ${users//$'\n'/, }. It was not changed. End these sessions, then run again"
}

limit_connections() { sql postgres <<<"alter database \"$database\" connection limit $1"; }

# A dump of one database has nothing of what the cluster knows of it: who may do what with it, its settings, its comment. What
# its owner may do goes with the owner. The settings move as they are stored, for no statement takes lists as they stand there.
swap_with_scratch() {
  sql postgres <<SQL
begin;
alter database "$database" rename to "$scratch_database in turn";
alter database "$scratch_database" rename to "$database";
alter database "$scratch_database in turn" rename to "$scratch_database";
select format('revoke all on database %I from public', '$database')
from pg_database where datname = '$scratch_database' and datacl is not null \\gexec
select format('grant %s on database %I to %s%s', privilege_type, '$database',
  case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end, case when is_grantable then ' with grant option' end)
from pg_database, aclexplode(datacl) where datname = '$scratch_database' and grantee <> datdba \\gexec
update pg_db_role_setting set setdatabase = (select oid from pg_database where datname = '$database')
where setdatabase = (select oid from pg_database where datname = '$scratch_database');
select format('comment on database %I is %L', '$database', shobj_description(oid, 'pg_database'))
from pg_database where datname = '$scratch_database' \\gexec
comment on database "$scratch_database" is '$scratch_mark';
commit;
SQL
}
