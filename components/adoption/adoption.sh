# shellcheck shell=bash
# A server that was made by hand: its database and artifacts become ours where they are, its unit and site are switched
# off, its files stay. Nothing of it is changed before a copy of its database could be migrated.

# Holds what is known of the server from the first change to the last, so that a run that was cut off is gone on with.
readonly marker=$state_directory/adoption

# --- what the server was told --------------------------------------------------------------------------------------

# settings_of UNIT: one NAME=VALUE per line: those of its unit's environment, then what its command sets: variables, and
# the options by their names.
settings_of() {
  local environment files command
  environment=$(unit_property "$1" Environment)
  files=$(unit_property "$1" EnvironmentFiles)
  command=$(command_of "$1")
  tr -d "\"'" <<<"$environment" | sed -E 's/ ([A-Za-z_][A-Za-z0-9_]*=)/\n\1/g'
  sed -n 's/ (ignore_errors=.*//p' <<<"$files" | settings_in_files
  sed -E 's/ -h[ =]/ --host=/g; s/ -p[ =]/ --port=/g; s/ (--[a-z-]+) ([^- ])/ \1=\2/g' <<<"$command" | tr ' ' '\n' |
    sed -n '/^\(--[a-z-]*\|[A-Za-z_][A-Za-z0-9_]*\)=/p'
}

# settings_in_files: of the environment files that stdin names, a pattern on each line.
settings_in_files() {
  local pattern file
  local IFS= # blanks belong to the name
  while read -r pattern; do
    for file in $pattern; do
      [[ ! -e $file ]] || sed -n "s/^[[:space:]]*\([A-Za-z_][A-Za-z0-9_]*\)=[\"']\?\([^\"']*\).*/\1=\2/p" "$file"
    done
  done
}

# last_value SETTINGS NAME
last_value() { sed -n "s/^$2=//p" <<<"$1" | tail -n 1; }

# setting SETTINGS OPTION VARIABLE: the option's value, or else the variable's. Variables in it stand for their values.
setting() {
  local value done='' variable
  value=$(last_value "$1" "--$2")
  [[ -n $value ]] || value=$(last_value "$1" "$3")
  while [[ $value =~ ^([^$]*)\$(\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))(.*)$ ]]; do
    done+=${BASH_REMATCH[1]}
    value=${BASH_REMATCH[5]}
    variable=$(last_value "$1" "${BASH_REMATCH[3]}${BASH_REMATCH[4]}")
    done+=$variable
  done
  printf '%s' "$done$value"
}

# database_of UNIT: the name of its database in the PostgreSQL that is ours too; nothing when its data are elsewhere. What
# its URI leaves out, PostgreSQL's client takes from variables.
database_of() {
  local settings uri host port query name
  settings=$(settings_of "$1")
  uri=$(setting "$settings" backend-store-uri MLFLOW_BACKEND_STORE_URI)
  [[ $uri =~ ^postgres(ql)?(\+[a-z0-9]+)?://([^@/]*@)?([A-Za-z0-9_.-]*|\[[0-9a-f:]*\])(:([0-9]+))?/([A-Za-z0-9_-]+)(\?.*)?$ ]] || return 0
  host=${BASH_REMATCH[4]} port=${BASH_REMATCH[6]} name=${BASH_REMATCH[7]} query=${BASH_REMATCH[8]}
  [[ ! $query =~ [?\&](host=[^/]|(hostaddr|port|service|dbname)=) ]] || return 0
  [[ -n $host || $query == *[?\&]host=* ]] || host=$(last_value "$settings" PGHOST)
  [[ -n $port ]] || port=$(last_value "$settings" PGPORT)
  case $host in '' | localhost | 127.0.0.1 | '[::1]' | /*) ;; *) return 0 ;; esac
  [[ ${port:-5432} == "$database_port" && ! $settings =~ (^|$'\n')PG(HOSTADDR|SERVICE)= ]] || return 0
  printf '%s' "$name"
}

# read_server UNIT: sets what is known of the server: old_database, old_port, old_artifacts (their directory, as its settings
# name it; nothing where they are elsewhere) and old_root (as runs name it). Fails where its data cannot be taken over.
read_server() {
  local settings uri root destination registry directory
  settings=$(settings_of "$1")
  old_database=$(database_of "$1")
  if [[ -z $old_database ]]; then
    uri=$(setting "$settings" backend-store-uri MLFLOW_BACKEND_STORE_URI)
    # The rest of the URI may be a secret.
    refuse "$1" "its data are not in PostgreSQL on port $database_port of this host (its store begins with '${uri%%:*}:')"
  fi
  old_port=$(setting "$settings" port MLFLOW_PORT)
  old_port=${old_port:-5000}
  [[ $old_port =~ ^[1-9][0-9]*$ ]] || refuse "$1" "its port '$old_port' is not a number"
  # Artifacts by name of their directory, for clients that write there themselves; or else by way of the server.
  root=$(setting "$settings" default-artifact-root MLFLOW_DEFAULT_ARTIFACT_ROOT)
  destination=$(setting "$settings" artifacts-destination MLFLOW_ARTIFACTS_DESTINATION)
  if [[ $root == mlflow-artifacts:* || -z $root ]]; then
    [[ $destination != *:* || $destination == file:* ]] || refuse "$1" "it serves artifacts that are in ${destination%%:*}, not on this host"
    root=$destination
  fi
  # shellcheck disable=SC2016 # what a shell would expand
  [[ $root != *['$`']* && $root != '~'* ]] || refuse "$1" "only its shell knows where its artifacts in '$root' are: write the directory itself there"
  registry=$(setting "$settings" registry-store-uri MLFLOW_REGISTRY_STORE_URI)
  [[ -z $registry ]] || refuse "$1" "its model registry is in a store of its own"
  old_root=${root:-./mlartifacts}
  root=${old_root#file:}
  root=${root/#\/\/\///}
  case $root in
    *:*) old_artifacts='' ;; # elsewhere: clients go on to find them there
    /*) old_artifacts=${root%/} ;;
    *)
      directory=$(directory_of "$1")
      [[ $directory == /* ]] || refuse "$1" "it does not run, so that it cannot be seen where its artifacts in '$old_root' are: 'systemctl start $1'"
      old_artifacts=$(realpath --canonicalize-missing --no-symlinks "$directory/$root")
      ;;
  esac
}

# directory_of UNIT: where it works; its command may have gone there by itself.
directory_of() {
  local pid directory
  pid=$(unit_property "$1" MainPID)
  if ((pid > 0)); then
    readlink "/proc/$pid/cwd"
  else
    directory=$(unit_property "$1" WorkingDirectory)
    directory=${directory#!} # need not be there
    printf '%s\n' "${directory:-/}"
  fi
}

refuse() {
  fail "$1 runs an MLflow server that was made by hand, and $2. Nothing was changed. To set up an empty server and leave that one's data where they are: 'systemctl disable --now $1' on the host, then run again"
}

# --- whether there is one to take over -----------------------------------------------------------------------------

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

# Servers made by hand that run or start at boot.
live_servers() {
  local units unit running at_boot
  units=$(handmade_servers)
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

check() {
  local units unit answers
  if [[ -e $marker ]]; then
    read -r unit <"$marker"
    problem "the take-over of $unit was cut off"
    return
  fi
  units=$(live_servers)
  [[ -n $units ]] || return 0
  answers=$(database_answers)
  if [[ -z $answers ]]; then
    problem "PostgreSQL does not answer on port $database_port, so it can not be seen whether ${units//$'\n'/ } is to be taken over"
    return
  fi
  units=$(servers_to_adopt)
  for unit in $units; do
    problem "$unit, an MLflow server that was made by hand, is to be taken over"
  done
}

# --- taking over ---------------------------------------------------------------------------------------------------

# mount_of PATH: the file system that it is on, or will be, as it is mounted; a rename leads to no other.
mount_of() {
  local existing=$1
  until [[ -d $existing ]]; do existing=${existing%/*} existing=${existing:-/}; done
  findmnt --noheadings --output TARGET --target "$existing"
}

demand_fitness() {
  local exists empty lacking
  exists=$(database_exists "$old_database")
  [[ -n $exists ]] || refuse "$1" "there is no database $old_database"
  demand_movable_artifacts "$1"
  demand_sites_of_its_own "$1"
  exists=$(database_exists "$database")
  if [[ $old_database != "$database" && -n $exists ]]; then
    empty=$(is_empty "$database")
    [[ -n $empty ]] || refuse "$1" "its database $old_database can not be called $database, for there is one of that name: set database.name to another name"
  fi
  lacking=$(check_room_for_copy "$old_database")
  [[ -z $lacking ]] || refuse "$1" "its database is to be copied and dumped: $lacking"
}

demand_movable_artifacts() {
  local place target present from to
  [[ -n $old_artifacts ]] || return 0
  place=$(realpath --canonicalize-missing "$old_artifacts")
  target=$(realpath --canonicalize-missing "$artifacts")
  [[ -d $place && $place != "$target" ]] || return 0
  [[ $target/ != "$place"/* && $place/ != "$target"/* ]] || refuse "$1" "of its artifacts' directory $place and $artifacts one holds the other: set artifacts.directory to another one on the same file system"
  if [[ -d $target ]]; then
    present=$(ls -A "$target")
    [[ -z $present ]] || refuse "$1" "there are artifacts in $old_artifacts and in $artifacts: set artifacts.directory to an empty directory"
  fi
  from=$(mount_of "$place")
  to=$(mount_of "$target")
  [[ $from == "$to" ]] ||
    refuse "$1" "its artifacts in $old_artifacts are on another file system than $artifacts: set artifacts.directory to a directory on theirs, outside of /home, or copy them yourself and leave a link ('mv $place $artifacts && ln -s $artifacts $place')"
}

demand_sites_of_its_own() {
  local sites site others
  sites=$(sites_to "$old_port")
  while IFS=$'\t' read -r site others; do
    [[ -z $others ]] || refuse "$1" "its site $site leads to other programs too: move those to a site of their own ($others)"
  done <<<"$sites"
}

migrate_scratch() {
  as_postgres "$release/bin/mlflow" db upgrade "postgresql+psycopg2:///$scratch_database?host=/var/run/postgresql&port=$database_port"
}

rehearse() {
  local schema
  schema=$(has_schema "$old_database")
  [[ -n $schema ]] || return 0
  say "rehearsing the migration of $old_database to MLflow $version on a copy"
  make_scratch postgres
  logged "copying the database" copy_to_scratch "$old_database"
  logged "rehearsing the migration (mlflow db upgrade on a copy)" migrate_scratch
  exit_command_now # drops the copy
}

# sessions DATABASE: who uses it, but for PostgreSQL itself.
sessions() {
  sql postgres <<<"select distinct coalesce(usename, backend_type) || ' (' || coalesce(nullif(application_name, ''), 'pid ' || pid) || ')'
    from pg_stat_activity where datname = '$1' and backend_type <> 'autovacuum worker' order by 1"
}

# stop_server UNIT: for good, once a dump is the way back. When there can be none, it serves as before.
stop_server() {
  local exists status=0
  exists=$(database_exists "$old_database")
  # Without it, a run that was cut off has come further.
  [[ -z $exists ]] || attempt stop_and_dump "$1"
  if ((status != 0)); then
    say "starting $1 again"
    logged "starting $1 again" systemctl start "$1"
    rm "$marker"
    exit 1
  fi
  logged "disabling $1" systemctl disable --now "$1"
}

# Whoever else uses the database would be cut off, or write on beside us. A run that was cut off may have made the dump,
# unless the server has run since.
stop_and_dump() {
  local deadline=$((SECONDS + 15)) ran schema others dump=
  ran=$(runs "$1")
  say "stopping $1"
  logged "stopping $1" systemctl stop "$1"
  while true; do
    others=$(sessions "$old_database")
    [[ -n $others ]] || break
    ((SECONDS < deadline)) ||
      fail "database $old_database is in use by others than $1: ${others//$'\n'/ }. Nothing was changed, and $1 goes on. End them, then run again"
    sleep 0.2 # between two looks; no session is the condition
  done
  schema=$(has_schema "$old_database")
  [[ -n $schema ]] || return 0
  [[ ! -d $dumps ]] || dump=$(find "$dumps" -name '*-before-adoption.dump' -newer "$marker")
  [[ -n $dump && -z $ran ]] || keep_dump "$old_database" adoption
}

# The new name must be free, or that of a database in which there is nothing.
take_database() {
  local old_exists new_exists empty drop=
  [[ $old_database != "$database" ]] || return 0
  old_exists=$(database_exists "$old_database")
  [[ -n $old_exists ]] || return 0 # it has the new name already
  say "database $old_database is called $database from now on"
  new_exists=$(database_exists "$database")
  if [[ -n $new_exists ]]; then
    empty=$(is_empty "$database")
    [[ -n $empty ]] || fail "database $database is not empty any more: drop or rename it, then run again"
    drop="drop database \"$database\"; "
  fi
  sql postgres <<<"${drop}alter database \"$old_database\" rename to \"$database\""
}

# The old place leads to the new one. Renamed in one moment, never copied.
take_artifacts() {
  local place target
  [[ -n $old_artifacts ]] || return 0
  place=$(realpath --canonicalize-missing "$old_artifacts") # somebody may have put them elsewhere, with a link
  target=$(realpath --canonicalize-missing "$artifacts")
  if [[ -d $place && $place != "$target" ]]; then
    say "the artifacts of $place are in $artifacts from now on"
    mkdir -p "${target%/*}"
    # Unlike mv, it takes the place of an empty directory, and of no other.
    logged "moving the artifacts" python3 -c 'import os, sys; os.rename(sys.argv[1], sys.argv[2])' "$place" "$target"
  fi
  if [[ ! -d $artifacts ]]; then
    say "there are no artifacts in $old_artifacts"
    return
  fi
  chown --recursive --no-dereference "$account:$account" "$target"
  [[ -e $place ]] || ln -s "$artifacts" "$place"
}

# Runs that name the old directory name the server from now on, so that clients get their artifacts from everywhere.
rename_artifacts() {
  local schema directory=${old_artifacts//\'/\'\'} root=${old_root//\'/\'\'}
  [[ -n $old_artifacts ]] || return 0
  schema=$(has_schema "$database")
  [[ -n $schema ]] || return 0
  sql "$database" <<SQL
do \$\$
declare
  place record;
  prefix text;
  directory text := '$directory';
begin
  for place in
    select table_name, column_name from information_schema.columns
    where table_schema = 'public' and (table_name, column_name) in (
      ('experiments', 'artifact_location'), ('runs', 'artifact_uri'), ('logged_models', 'artifact_location'),
      ('model_versions', 'source'), ('model_versions', 'storage_location'), ('trace_tags', 'value'))
  loop
    foreach prefix in array array[directory, 'file:' || directory, 'file://' || directory, '$root'] loop
      execute format('update public.%1\$I set %2\$I = ''mlflow-artifacts:'' || substr(%2\$I, length(%3\$L) + 1) where starts_with(%2\$I, %3\$L || ''/'')',
        place.table_name, place.column_name, prefix);
    end loop;
  end loop;
end \$\$
SQL
}

# sites_to PORT: sites of nginx that lead there, but for ours: 'FILE<tab>WHAT ELSE IT SERVES' (see sites.py).
sites_to() { python3 -c "$site_reader" "$1" "$site_link"; }

# nginx reads every file in these directories: one that is no link is kept beside the other sites that are off.
switch_sites_off() {
  local sites site others
  sites=$(sites_to "$old_port")
  while IFS=$'\t' read -r site others; do
    [[ -n $site ]] || continue
    [[ -z $others ]] || fail "the site $site leads to other programs too: move those to a site of their own ($others), then run again"
    say "switching off the site $site"
    if [[ -L $site ]]; then rm "$site"; else mv --backup=numbered "$site" /etc/nginx/sites-available/; fi
  done <<<"$sites"
  reload_nginx /etc/nginx/sites-enabled /etc/nginx/conf.d # what was taken away shows in the directory
}

apply() {
  local servers unit old_database old_port old_artifacts old_root
  local -a known
  start_database
  if [[ -e $marker ]]; then
    mapfile -t known <"$marker"
    ((${#known[@]} == 5)) || fail "$marker does not hold what it should: five lines, for unit, database, port, directory of the artifacts and how runs name it"
    unit=${known[0]} old_database=${known[1]} old_port=${known[2]} old_artifacts=${known[3]} old_root=${known[4]}
    say "going on with the take-over of $unit"
  else
    servers=$(servers_to_adopt)
    [[ -n $servers ]] || return 0
    [[ $servers != *$'\n'* ]] || fail "there are several MLflow servers that were made by hand: ${servers//$'\n'/ }. Nothing was changed. Stop all but the one to take over ('systemctl disable --now …' on the host), then run again"
    unit=$servers
    read_server "$unit"
    if [[ $old_database == "$database" && -e $password_file ]]; then
      demand_sites_of_its_own "$unit"
      say "switching off $unit, whose database is ours already"
      logged "switching off $unit" systemctl disable --now "$unit"
      switch_sites_off
      return
    fi
    say "taking over $unit: database $old_database, artifacts $old_artifacts"
    demand_fitness "$unit"
    rehearse
    write_file "$marker" root:root 0644 "$unit"$'\n'"$old_database"$'\n'"$old_port"$'\n'"$old_artifacts"$'\n'"$old_root"
  fi
  make_account "$account"
  stop_server "$unit"
  take_database
  take_artifacts
  rename_artifacts
  switch_sites_off
  rm "$marker"
}

remove() {
  return 0
}
