# shellcheck shell=bash
# shellcheck disable=SC2154 # the values and the library stand before this text
# Database and owner role in the distribution's PostgreSQL, reached on 127.0.0.1 with scram-sha-256 only.

# The first line of pg_hba.conf that matches decides, so these stand first; each carries our mark.
readonly mark='# mlflow-vps'
readonly databases=$database,${database}_rehearsal # the second is there while a migration is tried
readonly access="local  $databases  all                    peer           $mark
host   $databases  $role  127.0.0.1/32  scram-sha-256  $mark
host   $databases  all  0.0.0.0/0  reject  $mark
host   $databases  all  ::/0  reject  $mark"
readonly server_settings="$managed
listen_addresses = 'localhost'
password_encryption = 'scram-sha-256'"

settings_file() { echo "$(dirname "$(sql postgres <<<'show config_file')")/conf.d/mlflow-vps.conf"; }
access_file() { sql postgres <<<'show hba_file'; }

# The role logs in the way the server does: over TCP, with the password from the file that the server reads.
login_works() {
  PGPASSFILE=$password_file PGCONNECT_TIMEOUT=5 psql --no-psqlrc --no-password --host 127.0.0.1 --port "$database_port" \
    --username "$role" --dbname "$database" --command 'select 1' >/dev/null 2>&1 </dev/null
}

# Relations in the database that the role does not own: 'kind name owner'.
foreign_relations() {
  sql "$database" <<SQL
select case c.relkind when 'S' then 'sequence' when 'v' then 'view' else 'table' end, quote_ident(c.relname), r.rolname
from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_roles r on r.oid = c.relowner
where n.nspname = 'public' and c.relkind in ('r', 'p', 'v', 'S') and r.rolname <> '$role'
  and not exists (select from pg_depend d where d.objid = c.oid and d.deptype in ('a', 'i', 'e'))
order by 1, 2
SQL
}

check() {
  local owner role_state kind name relation_owner
  if ! database_answers; then
    problem "PostgreSQL does not answer on port $database_port"
    return
  fi
  check_account "$account"
  check_file "$(settings_file)" postgres:postgres 0644 "$server_settings"
  [[ $(sql postgres <<<'show listen_addresses') == localhost ]] || problem "PostgreSQL listens on more than localhost"
  [[ $(grep "$mark\$" "$(access_file)") == "$access" && $(head -n 1 "$(access_file)") == "${access%%$'\n'*}" ]] ||
    problem "$(access_file) lacks the lines that let only role $role in, with its password"
  role_state=$(sql postgres <<<"select rolcanlogin and not rolsuper and not rolcreaterole and not rolcreatedb from pg_roles where rolname = '$role'")
  case $role_state in
    '') problem "role $role is missing" ;;
    f) problem "role $role has other rights than to log in" ;;
  esac
  owner=$(sql postgres <<<"select pg_get_userbyid(datdba) from pg_database where datname = '$database'")
  if [[ -z $owner ]]; then
    problem "database $database is missing"
  elif [[ $owner != "$role" ]]; then
    problem "database $database belongs to $owner, not to $role"
  else
    while IFS='|' read -r kind name relation_owner; do
      problem "$kind $name belongs to $relation_owner, not to $role"
    done < <(foreign_relations)
  fi
  check_file "$password_file" "$account:$account" 0600 "$password_line" | sed 's/ was changed$/ does not hold the password/'
  [[ $role_state != t || -z $owner ]] || login_works || problem "role $role can not log in with its password"
}

# The SCRAM verifier of the password, so that PostgreSQL never sees (or logs) the password itself. RFC 5803.
verifier() {
  # shellcheck disable=SC2016 # the dollars are Python's
  printf '%s' "$password" | python3 -c '
import base64, hashlib, hmac, os, sys
password, salt, rounds = sys.stdin.buffer.read(), os.urandom(16), 4096
salted = hashlib.pbkdf2_hmac("sha256", password, salt, rounds)
stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
server = hmac.digest(salted, b"Server Key", "sha256")
text = lambda data: base64.b64encode(data).decode()
print(f"SCRAM-SHA-256${rounds}:{text(salt)}${text(stored)}:{text(server)}")'
}

# A login reads the password from the file and is compared with the role's, so both change within milliseconds; what is
# slow is done before.
set_password() {
  local hash session process
  hash=$(verifier)
  write_file "$password_file.new" "$account:$account" 0600 "$password_line"
  coproc session { sql postgres; }
  process=$session_PID
  printf '%s\n' 'set synchronous_commit = off; begin;' "alter role \"$role\" password '$hash';" "select 'ready';" >&"${session[1]}"
  read -r _ <&"${session[0]}" || fail "PostgreSQL does not take the new password of role $role"
  mv -f "$password_file.new" "$password_file"
  printf '%s\n' 'commit;' '\q' >&"${session[1]}"
  wait "$process"
}

write_access_file() {
  local file
  file=$(access_file)
  write_file "$file" postgres:postgres 0640 "$access"$'\n'"$(sed "/$mark\$/d" "$file")"
}

# Where another file than ours decides, a restart would change nothing.
listen_locally() {
  local now winner
  now=$(sql postgres <<<'show listen_addresses')
  [[ $now != localhost ]] || return 0
  winner=$(sql postgres <<<"select sourcefile from pg_file_settings where name = 'listen_addresses' order by seqno desc limit 1")
  [[ $winner == "$(settings_file)" ]] || fail "PostgreSQL listens on '$now', as $winner says: remove listen_addresses there, then run again"
  say "restarting PostgreSQL, so that it listens on localhost only"
  logged "restarting PostgreSQL" systemctl restart postgresql
}

apply() {
  local name kind relation_owner
  start_database
  make_account "$account"

  write_file "$(settings_file)" postgres:postgres 0644 "$server_settings"
  write_access_file
  logged "loading PostgreSQL's configuration" systemctl reload postgresql
  listen_locally

  if [[ -z $(sql postgres <<<"select 1 from pg_roles where rolname = '$role'") ]]; then
    say "making role $role"
    sql postgres <<<"create role \"$role\""
  fi
  sql postgres <<<"alter role \"$role\" login nosuperuser nocreaterole nocreatedb"
  if [[ -z $(sql postgres <<<"select 1 from pg_database where datname = '$database'") ]]; then
    say "making database $database"
    sql postgres <<<"create database \"$database\" owner \"$role\" encoding 'UTF8' locale 'C.UTF-8' template template0"
  fi
  sql postgres <<<"alter database \"$database\" owner to \"$role\"; revoke connect, temporary on database \"$database\" from public"
  while IFS='|' read -r kind name relation_owner; do
    say "taking over $kind $name from $relation_owner"
    sql "$database" <<<"alter $kind public.$name owner to \"$role\""
  done < <(foreign_relations)

  { [[ -z $(check_file "$password_file" "$account:$account" 0600 "$password_line") ]] && login_works; } || set_password
}

remove() {
  if ! command -v pg_lsclusters >/dev/null; then
    rm -f "$password_file"
    say "PostgreSQL is not installed any more, so there is no database to keep"
    return
  fi
  database_answers || fail "PostgreSQL does not answer on port $database_port, so nothing can be said about the data: start it, then destroy again"
  rm -f "$password_file"
  if [[ $delete_data == true ]]; then
    sql postgres <<<"drop database if exists \"$database\" with (force)"
    sql postgres <<<"drop role if exists \"$role\""
    say "deleted database $database and its role, as data.deleteOnDestroy says"
  elif [[ -n $(sql postgres <<<"select 1 from pg_roles where rolname = '$role'") ]]; then
    sql postgres <<<"alter role \"$role\" nologin password null"
    say "kept: database $database in PostgreSQL on port $database_port (its role $role can not log in any more)"
  fi
  rm -f "$(settings_file)"
  sed -i "/$mark\$/d" "$(access_file)"
  logged "loading PostgreSQL's configuration" systemctl reload postgresql
}
