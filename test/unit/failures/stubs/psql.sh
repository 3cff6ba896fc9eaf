# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# A PostgreSQL of files: it answers the very statements that the steps send.
. "$stubs/postgres.sh"

database='' user='' command=''
arguments="$*"
while [ $# -gt 0 ]; do
  case $1 in
    --dbname) database=$2 && shift ;;
    --username) user=$2 && shift ;;
    --command) command=$2 && shift ;;
    --host | --port | --set) shift ;;
    postgresql://*) user=${1#postgresql://} user=${user%%@*} database=${1##*/} ;;
  esac
  shift
done

statement=$command
[ -n "$command" ] || while IFS= read -r line || [ -n "$line" ]; do
  statement="$statement${statement:+
}$line"
  [ "$line" != "select 'ready';" ] || { . "$stubs/password.sh" && exit; }
done
statement=${statement# }
announce "psql $arguments <<< $statement"

[ -e "$pg/up" ] || { echo 'psql: error: connection to server failed: Connection refused' >&2 && exit 2; }
[ -d "$pg/databases/$database" ] || { echo "psql: error: FATAL: database \"$database\" does not exist" >&2 && exit 2; }
[ -z "$user" ] || log_in

# quoted TEXT CHARACTER: sets found to what stands first between two of these.
quoted() {
  found=${1#*"$2"}
  found=${found%%"$2"*}
}

# exists KIND NAME, or the error of PostgreSQL.
demand() { [ -e "$pg/$1/$2" ] || { echo "ERROR: ${1%s} \"$2\" does not exist" >&2 && exit 3; }; }
refuse() { [ ! -e "$pg/$1/$2" ] || { echo "ERROR: ${1%s} \"$2\" already exists" >&2 && exit 3; }; }

# perform STATEMENT
perform() {
  case $1 in
    'show config_file') echo "$config/postgresql.conf" ;;
    'show hba_file') echo "$config/pg_hba.conf" ;;
    'show data_directory') echo "$WORLD/var/lib/postgresql/15/main" ;;
    'show listen_addresses') /bin/cat "$pg/listen_addresses" ;;
    'show max_connections') echo 100 ;;
    'select pg_conf_load_time()::text') /bin/cat "$pg/loads" ;;
    'select pg_reload_conf()') load_settings && echo t ;;
    'select 1 where pg_conf_load_time()::text <> '*)
      quoted "$1" "'" && read -r loads <"$pg/loads"
      [ "$loads" = "$found" ] || echo 1
      ;;
    "select format('line %s: %s'"*pg_hba_file_rules*) ;;
    'select sourcefile, setting, '*' from pg_file_settings '*) echo "$config/conf.d/mlflow-vps.conf|localhost|t" ;;
    'select 1 from pg_database d join pg_authid r '*)
      quoted "$1" "'" && made=$found
      quoted "${1#*rolname = }" "'"
      read -r owner <"$pg/databases/$made/owner"
      read -r access <"$pg/databases/$made/access" || true
      [ "$owner $access" != "$found revoked" ] || ! /usr/bin/grep -q ^password= "$pg/roles/$found" || echo 1
      ;;
    'select 1 from pg_database where datname = '*)
      quoted "$1" "'"
      [ ! -d "$pg/databases/$found" ] || echo 1
      ;;
    'select datname from pg_database where datname not in '*)
      for each in "$pg"/databases/*; do
        case $1 in *"'${each##*/}'"*) ;; *) echo "${each##*/}" ;; esac
      done
      ;;
    'select pg_get_userbyid(datdba) from pg_database '*)
      quoted "$1" "'"
      [ ! -d "$pg/databases/$found" ] || /bin/cat "$pg/databases/$found/owner"
      ;;
    'select pg_encoding_to_char(encoding) '*) echo UTF8 ;;
    'select pg_database_size('*) echo 8000000 ;;
    'select 1 from pg_roles where rolname = '*)
      quoted "$1" "'"
      [ ! -e "$pg/roles/$found" ] || echo 1
      ;;
    'select rolcanlogin and not rolsuper '*)
      quoted "$1" "'"
      [ ! -e "$pg/roles/$found" ] || { read -r rights <"$pg/roles/$found" && if [ "$rights" = login ]; then echo t; else echo f; fi; }
      ;;
    'select case c.relkind '*)
      read -r owner <"$pg/databases/$database/owner"
      while read -r kind name of; do [ "$of" = "$owner" ] || echo "$kind|$name|$of"; done <"$pg/databases/$database/relations"
      ;;
    "select distinct coalesce('database '"*) ;;
    'select distinct coalesce(usename, backend_type) '*) ;;
    "select 1 where to_regclass('public.alembic_version') is not null") ! /usr/bin/grep -q ^schema= "$pg/databases/$database/data" || echo 1 ;;
    "select 1 where to_regclass('public.webhooks') is not null") echo 1 ;;
    'select distinct substring(place '*) ;;
    'select secret, webhook_id, name '*) echo 'of another key|1|old' ;;
    "select to_regclass('public.alembic_version') is not null as present \\gset"*) /usr/bin/sed -n s/^schema=//p "$pg/databases/$database/data" ;;
    'select 1 where not exists ('*) [ -s "$pg/databases/$database/data" ] || echo 1 ;;
    "select format('drop database %I with (force)'"*'\gexec')
      quoted "${1#*datname = }" "'" && scratch=$found
      quoted "${1##*= }" "'"
      if [ -d "$pg/databases/$scratch" ]; then
        read -r comment <"$pg/databases/$scratch/comment"
        [ "$comment" != "$found" ] || /bin/rm -r "$pg/databases/$scratch"
      fi
      ;;
    'create database '*)
      quoted "$1" '"' && refuse databases "$found" && made=$found
      quoted "${1#*owner }" '"' && demand roles "$found"
      /bin/mkdir "$pg/databases/$made"
      echo "$found" >"$pg/databases/$made/owner"
      for each in data relations access comment; do : >"$pg/databases/$made/$each"; done
      ;;
    'comment on database '*)
      quoted "$1" '"' && demand databases "$found" && made=$found
      quoted "$1" "'" && printf '%s\n' "$found" >"$pg/databases/$made/comment"
      ;;
    'create role '*) quoted "$1" '"' && refuse roles "$found" && echo nothing >"$pg/roles/$found" ;;
    'alter role '*' login nosuperuser nocreaterole nocreatedb')
      quoted "$1" '"' && demand roles "$found"
      password=$(/usr/bin/sed 1d "$pg/roles/$found")
      printf '%s\n' login "$password" >"$pg/roles/$found"
      ;;
    'alter role '*' nologin password null') quoted "$1" '"' && demand roles "$found" && echo nothing >"$pg/roles/$found" ;;
    'alter database '*' owner to '*)
      quoted "$1" '"' && demand databases "$found" && made=$found
      quoted "${1#*owner to }" '"' && demand roles "$found" && echo "$found" >"$pg/databases/$made/owner"
      ;;
    'revoke connect, temporary on database '*) quoted "$1" '"' && demand databases "$found" && echo revoked >"$pg/databases/$found/access" ;;
    'alter table public.'*' owner to '* | 'alter sequence public.'*' owner to '* | 'alter view public.'*' owner to '*)
      relation=${1#*public.} relation=${relation%% *}
      quoted "$1" '"'
      /usr/bin/sed -i "s/^\([a-z]* $relation\) .*/\1 $found/" "$pg/databases/$database/relations"
      ;;
    'drop database if exists '*)
      quoted "$1" '"'
      /bin/rm -rf "$pg/databases/$found"
      ;;
    'drop database "'*) quoted "$1" '"' && demand databases "$found" && /bin/rm -r "$pg/databases/$found" ;;
    'drop role if exists '*) quoted "$1" '"' && /bin/rm -f "$pg/roles/$found" ;;
    'alter database '*' rename to '*)
      quoted "$1" '"' && demand databases "$found" && from=$found
      quoted "${1#*rename to }" '"' && refuse databases "$found" && /bin/mv "$pg/databases/$from" "$pg/databases/$found"
      ;;
    'do '*'mlflow-artifacts:'*) /usr/bin/sed -i "s|^artifact=.*artifacts/|artifact=mlflow-artifacts:/|" "$pg/databases/$database/data" ;;
    *) echo "psql: the stub does not know: $1" >&2 && exit 64 ;;
  esac || exit
}

case $statement in
  # Questions, with a mark before each answer.
  '\echo '*)
    printf '%s\n' "$statement" | while IFS= read -r one; do
      case $one in '') ;; '\echo '*) printf '%s\n' "${one#* }" ;; *) perform "${one%;}" ;; esac
    done
    ;;
  # Several statements of one run.
  'create database '* | 'drop database "'*';'* | 'alter database '*';'*)
    rest=$statement
    while [ -n "$rest" ]; do
      one=${rest%%;*}
      [ "$one" = "$rest" ] && rest='' || rest=${rest#*;}
      while case $one in ' '* | '
'*) true ;; *) false ;; esac do one=${one#?}; done
      [ -z "$one" ] || perform "$one"
    done
    ;;
  'select 1') echo 1 ;;
  *) perform "$statement" ;;
esac
exit 0
