# shellcheck shell=bash
# Database and owner role in the distribution's PostgreSQL, reached on 127.0.0.1 with scram-sha-256 only.

# The first line of pg_hba.conf that matches decides, so these stand first; each carries our mark.
readonly mark='# mlflow-vps'
readonly databases=$database,$scratch_database # the second is there while a migration is tried
readonly access_lines="local  $databases  all                    peer           $mark
host   $databases  $role  127.0.0.1/32  scram-sha-256  $mark
host   $databases  all  0.0.0.0/0  reject  $mark
host   $databases  all  ::/0  reject  $mark"
readonly server_settings="$managed
listen_addresses = 'localhost'"

settings_file() {
  local file
  file=$(sql postgres <<<'show config_file')
  echo "${file%/*}/conf.d/mlflow-vps.conf"
}
access_file() { sql postgres <<<'show hba_file'; }
listen_addresses() { sql postgres <<<'show listen_addresses'; }

# Databases of others in our cluster. Where there are any, whom it listens to is theirs to say, and the lines in
# pg_hba.conf alone keep others away from ours.
neighbours() {
  sql postgres <<<"select datname from pg_database where datname not in ('postgres', 'template0', 'template1', '$database', '$scratch_database') order by 1"
}

# login_refusal: what PostgreSQL says against the role's login; nothing when it works. It logs in the way the server does:
# over TCP, with the password from the file that the server reads.
login_refusal() {
  local psql output code=0
  psql=$(client psql)
  output=$(PGPASSFILE=$password_file PGCONNECT_TIMEOUT=5 "$psql" --no-psqlrc --no-password --host 127.0.0.1 --port "$database_port" \
    --username "$role" --dbname "$database" --command 'select 1' 2>&1 </dev/null) || code=$?
  ((code == 0)) || head -n 1 <<<"${output:-psql exited $code}"
}

# Relations in the database that the role does not own: 'kind|name|owner'.
foreign_relations() {
  sql "$database" <<SQL
select case c.relkind when 'S' then 'sequence' when 'v' then 'view' else 'table' end, quote_ident(c.relname), r.rolname
from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_roles r on r.oid = c.relowner
where n.nspname = 'public' and c.relkind in ('r', 'p', 'v', 'S') and r.rolname <> '$role'
  and not exists (select from pg_depend d where d.objid = c.oid and d.deptype in ('a', 'i', 'e'))
order by 1, 2
SQL
}

check_listening() {
  local others file addresses
  others=$(neighbours)
  file=$(settings_file)
  if [[ -n $others ]]; then
    [[ ! -e $file ]] || problem "$file sets listen_addresses for databases of others too (${others//$'\n'/, })"
    return
  fi
  check_file "$file" postgres:postgres 0644 "$server_settings"
  addresses=$(listen_addresses)
  [[ $addresses == localhost ]] || problem "PostgreSQL listens on more than localhost"
}

check_access_file() {
  local file lines first
  file=$(access_file)
  lines=$(found "$mark\$" "$file")
  first=$(head -n 1 "$file")
  [[ $lines == "$access_lines" && $first == "${access_lines%%$'\n'*}" ]] ||
    problem "$file lacks the lines that let only role $role in, with its password"
}

check() {
  local answers owner role_state relations kind name relation_owner password_problems refusal
  answers=$(database_answers)
  if [[ -z $answers ]]; then
    problem "PostgreSQL does not answer on port $database_port"
    return
  fi
  check_account "$account"
  check_listening
  check_access_file
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
    relations=$(foreign_relations)
    while IFS='|' read -r kind name relation_owner; do
      [[ -z $kind ]] || problem "$kind $name belongs to $relation_owner, not to $role"
    done <<<"$relations"
  fi
  password_problems=$(check_file "$password_file" "$account:$account" 0600 "$password_line")
  [[ -z $password_problems ]] || problem "${password_problems/%was changed/does not hold the password}"
  if [[ $role_state == t && -n $owner ]]; then
    refusal=$(login_refusal)
    [[ -z $refusal ]] || problem "role $role can not log in with its password: $refusal"
  fi
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

# has_answered PROCESS FILE: whether this psql has said 'ready', or has ended.
has_answered() {
  local ended=yes ready
  [[ ! -e /proc/$1 ]] || ended=
  ready=$(found --line-regexp ready "$2")
  [[ -z $ended$ready ]] || echo yes
}

# A login reads the password from the file and is compared with the role's, so both change within milliseconds: what is
# slow, and what may fail, is done before, in a transaction that is still open. It is undone when this process ends.
set_password() {
  local hash talk=$run_directory/password session ready answers status=0
  hash=$(verifier)
  rm -rf "$talk" # of a run that was killed
  install -d -m 0700 "$talk"
  at_exit rm -rf "$talk" "$password_file.new"
  write_file "$password_file.new" "$account:$account" 0600 "$password_line"
  mkfifo "$talk/statements"
  : >"$talk/answers"
  {
    trap - ERR # what PostgreSQL says is shown below
    sql postgres
  } <"$talk/statements" >"$talk/answers" 2>&1 &
  session=$!
  exec 7<>"$talk/statements"
  printf '%s\n' "set synchronous_commit = off; set statement_timeout = '20s';" 'begin;' "alter role \"$role\" password '$hash';" "select 'ready';" >&7
  wait_until 30 "PostgreSQL did not take the new password of role $role in 30 s" has_answered "$session" "$talk/answers"
  ready=$(found --line-regexp ready "$talk/answers")
  answers=$(<"$talk/answers")
  [[ -n $ready ]] || fail "PostgreSQL did not take the new password of role $role, the old one holds: $answers"
  mv -f "$password_file.new" "$password_file"
  echo 'commit;' >&7
  exec 7>&-
  wait "$session" || status=$?
  answers=$(<"$talk/answers")
  ((status == 0)) || fail "PostgreSQL did not take the new password of role $role: $answers. Run again"
  exit_command_now
}

# write_access_file LINES: puts them before those of others.
write_access_file() {
  local file others
  file=$(access_file)
  others=$(sed "/$mark\$/d" "$file")
  write_file "$file" postgres:postgres 0640 "$1$others"
}

write_settings_file() {
  local others file
  others=$(neighbours)
  file=$(settings_file)
  if [[ -z $others ]]; then
    write_file "$file" postgres:postgres 0644 "$server_settings"
  elif [[ -e $file ]]; then
    say "PostgreSQL holds databases of others too (${others//$'\n'/, }), so $file goes: from PostgreSQL's next restart listen_addresses is what their own files say"
    rm "$file"
  fi
}

# It returns before PostgreSQL has read them. Other clusters than ours are not asked to.
load_settings() {
  local before file refused
  before=$(sql postgres <<<'select pg_conf_load_time()::text')
  sql postgres <<<'select pg_reload_conf()' >/dev/null
  wait_until 30 "PostgreSQL did not take up its configuration in 30 s; its log says why ('pg_lsclusters' on the host names the file)" \
    has_rows postgres "select 1 where pg_conf_load_time()::text <> '$before'"
  file=$(access_file)
  refused=$(sql postgres <<<"select format('line %s: %s', line_number, error) from pg_hba_file_rules where error is not null limit 1")
  [[ -z $refused ]] || fail "PostgreSQL does not take up $file, because of its $refused. Mend that line, then run again"
}

# Where another file than ours decides, a restart would change nothing.
listen_locally() {
  local others addresses file winner unit
  others=$(neighbours)
  addresses=$(listen_addresses)
  [[ -z $others && $addresses != localhost ]] || return 0
  file=$(settings_file)
  winner=$(sql postgres <<<"select sourcefile from pg_file_settings where name = 'listen_addresses' order by seqno desc limit 1")
  [[ $winner == "$file" ]] || fail "PostgreSQL listens on '$addresses', as $winner says: remove listen_addresses there, then run again"
  unit=$(cluster_unit)
  say "restarting PostgreSQL, so that it listens on localhost only"
  logged "restarting $unit" systemctl restart "$unit"
}

apply() {
  local role_exists present relations kind name relation_owner wrong
  start_database
  make_account "$account"

  write_settings_file
  write_access_file "$access_lines"$'\n'
  load_settings
  listen_locally

  role_exists=$(has_rows postgres "select 1 from pg_roles where rolname = '$role'")
  if [[ -z $role_exists ]]; then
    say "making role $role"
    sql postgres <<<"create role \"$role\""
  fi
  sql postgres <<<"alter role \"$role\" login nosuperuser nocreaterole nocreatedb"
  present=$(database_exists "$database")
  if [[ -z $present ]]; then
    say "making database $database"
    sql postgres <<<"create database \"$database\" owner \"$role\" encoding 'UTF8' locale 'C.UTF-8' template template0"
  fi
  sql postgres <<<"alter database \"$database\" owner to \"$role\"; revoke connect, temporary on database \"$database\" from public"
  relations=$(foreign_relations)
  while IFS='|' read -r kind name relation_owner; do
    [[ -n $kind ]] || continue
    say "taking over $kind $name from $relation_owner"
    sql "$database" <<<"alter $kind public.$name owner to \"$role\""
  done <<<"$relations"

  wrong=$(check_file "$password_file" "$account:$account" 0600 "$password_line")
  [[ -n $wrong ]] || wrong=$(login_refusal)
  [[ -z $wrong ]] || set_password
}

remove() {
  local answers role_exists file
  if ! command -v pg_lsclusters >/dev/null; then
    rm -f "$password_file" "$password_file.new"
    say "PostgreSQL is not installed any more, so there is no database to keep"
    return
  fi
  answers=$(database_answers)
  [[ -n $answers ]] || fail "PostgreSQL does not answer on port $database_port, so nothing can be said about the data: start it, then destroy again"
  file=$(settings_file)
  drop_scratch # of a rehearsal that was killed
  role_exists=$(has_rows postgres "select 1 from pg_roles where rolname = '$role'")
  if [[ $delete_data == true ]]; then
    demand_role_of_ours_alone
    sql postgres <<<"drop database if exists \"$database\" with (force)"
    sql postgres <<<"drop role if exists \"$role\""
    say "deleted database $database and its role, as data.deleteOnDestroy says"
  elif [[ -n $role_exists ]]; then
    sql postgres <<<"alter role \"$role\" nologin password null"
    say "kept: database $database in PostgreSQL on port $database_port (its role $role can not log in any more)"
  fi
  rm -f "$password_file" "$password_file.new" "$file"
  write_access_file ''
  load_settings
}

# PostgreSQL drops no role that owns, or may do, something elsewhere; that is known before anything is deleted.
demand_role_of_ours_alone() {
  local elsewhere
  elsewhere=$(
    sql postgres <<SQL
select distinct coalesce('database ' || d.datname, 'the cluster')
from pg_shdepend s join pg_roles r on s.refclassid = 'pg_authid'::regclass and s.refobjid = r.oid
  left join pg_database d on d.oid = case when s.classid = 'pg_database'::regclass then s.objid else s.dbid end
where r.rolname = '$role' and d.datname is distinct from '$database' order by 1
SQL
  )
  [[ -z $elsewhere ]] ||
    fail "role $role owns or may use something in ${elsewhere//$'\n'/, }, so it cannot be deleted. Nothing was deleted. Give that to another role ('reassign owned by $role to …; drop owned by $role' there), or set data.deleteOnDestroy to false and run up; then destroy again"
}
