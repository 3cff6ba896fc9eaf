# shellcheck shell=bash
# shellcheck disable=SC2154 # the values and the library stand before this text
# A server that was made by hand: its database and artifacts become ours where they are, its unit and site are switched
# off, its files stay. Nothing of it is changed before a copy of its database could be migrated.

# Holds what is known of the server from the first change to the last, so that a run that was cut off is gone on with.
readonly marker=$state_directory/adoption
readonly copy=${database}_adoption

# --- what the server was told --------------------------------------------------------------------------------------

# Its settings, one NAME=VALUE per line: those of its unit's environment, then the options of its command by their names.
settings_of() {
  local file
  systemctl show --property Environment --value "$1" | tr -d "\"'" | sed -E 's/ ([A-Za-z_][A-Za-z0-9_]*=)/\n\1/g'
  systemctl show --property EnvironmentFiles --value "$1" | sed -n 's/ (ignore_errors=.*//p' | while read -r file; do
    sed -n "s/^[[:space:]]*\([A-Za-z_][A-Za-z0-9_]*\)=[\"']\?\([^\"']*\).*/\1=\2/p" "$file" 2>/dev/null || true
  done
  command_of "$1" | sed -E 's/ -h[ =]/ --host=/g; s/ -p[ =]/ --port=/g; s/ (--[a-z-]+) ([^- ])/ \1=\2/g' | tr ' ' '\n' | sed -n 's/^\(--[a-z-]*=\)/\1/p'
}

# setting SETTINGS OPTION VARIABLE: the option's value, or else the variable's; one that names a variable stands for that.
setting() {
  local value
  value=$(sed -n "s/^--$2=//p" <<<"$1" | tail -n 1)
  [[ -n $value ]] || value=$(sed -n "s/^$3=//p" <<<"$1" | tail -n 1)
  # shellcheck disable=SC2016 # a dollar as it stands in a unit
  [[ $value != '$'* ]] || value=$(sed -n "s/^$(tr -d '${}' <<<"$value")=//p" <<<"$1" | tail -n 1)
  printf '%s' "$value"
}

# read_server UNIT: sets what is known of the server: old_database, old_port, old_artifacts (their directory, as its settings
# name it; nothing where they are elsewhere) and old_root (as runs name it). Fails where its data can not be taken over.
read_server() {
  local settings uri root destination
  settings=$(settings_of "$1")
  uri=$(setting "$settings" backend-store-uri MLFLOW_BACKEND_STORE_URI)
  # The rest of the URI may be a secret.
  [[ $uri =~ ^postgres(ql)?(\+[a-z0-9]+)?://([^@/]*@)?(localhost|127\.0\.0\.1|\[::1\])?(:([0-9]+))?/([A-Za-z0-9_-]+)(\?.*)?$ &&
    ${BASH_REMATCH[6]:-$database_port} == "$database_port" &&
    ${BASH_REMATCH[8]} != *[?\&]host=[!/]* && ${BASH_REMATCH[8]} != *[?\&]port=* ]] ||
    refuse "$1" "its data are not in PostgreSQL on port $database_port of this host (its store begins with '${uri%%:*}:')"
  old_database=${BASH_REMATCH[7]}
  old_port=$(setting "$settings" port MLFLOW_PORT)
  old_port=${old_port:-5000}
  # Artifacts by name of their directory, for clients that write there themselves; or else by way of the server.
  root=$(setting "$settings" default-artifact-root MLFLOW_DEFAULT_ARTIFACT_ROOT)
  destination=$(setting "$settings" artifacts-destination MLFLOW_ARTIFACTS_DESTINATION)
  if [[ $root == mlflow-artifacts:* || -z $root ]]; then
    [[ $destination != *:* || $destination == file:* ]] || refuse "$1" "it serves artifacts that are in ${destination%%:*}, not on this host"
    root=$destination
  fi
  [[ -z $(setting "$settings" registry-store-uri MLFLOW_REGISTRY_STORE_URI) ]] || refuse "$1" "its model registry is in a store of its own"
  old_root=${root:-./mlartifacts}
  root=${old_root#file:}
  root=${root/#\/\/\///}
  case $root in
    *:*) old_artifacts='' ;; # elsewhere: clients go on to find them there
    /*) old_artifacts=${root%/} ;;
    *) old_artifacts=$(realpath --canonicalize-missing --no-symlinks "$(directory_of "$1")/$root") ;;
  esac
}

# directory_of UNIT: where it works; its command may have gone there by itself.
directory_of() {
  local pid
  pid=$(systemctl show --property MainPID --value "$1")
  if ((pid > 0)); then readlink "/proc/$pid/cwd"; else systemctl show --property WorkingDirectory --value "$1"; fi
}

refuse() {
  fail "$1 runs an MLflow server that was made by hand, and $2. Nothing was changed. To set up an empty server and leave that one's data where they are: 'systemctl disable --now $1' on the host, then run again"
}

# --- whether there is one to take over -----------------------------------------------------------------------------

is_there() { [[ -n $(sql postgres <<<"select 1 from pg_database where datname = '$1'") ]]; }

has_schema() { is_there "$1" && [[ $(sql "$1" <<<"select to_regclass('public.alembic_version') is not null") == t ]]; }

# is_empty DATABASE: nothing would be lost with it.
is_empty() {
  ! is_there "$1" || [[ -z $(sql "$1" <<<"select 1 from pg_class where relnamespace not in (select oid from pg_namespace where nspname like 'pg\_%' or nspname = 'information_schema') limit 1") ]]
}

# Servers made by hand that run or start at boot.
live_servers() {
  local unit
  for unit in $(handmade_servers); do
    ! { systemctl is-active --quiet "$unit" || [[ $(systemctl is-enabled "$unit" 2>/dev/null || true) == enabled* ]]; } || printf '%s\n' "$unit"
  done
}

# Once ours has a database of its own, others are other people's.
servers_to_adopt() {
  local unit
  for unit in $(live_servers); do
    (read_server "$unit" >/dev/null 2>&1 && [[ $old_database == "$database" ]]) || ! has_schema "$database" || continue
    printf '%s\n' "$unit"
  done
}

check() {
  local unit
  if [[ -e $marker ]]; then
    problem "the take-over of $(head -n 1 "$marker") was cut off"
    return
  fi
  [[ -n $(live_servers) ]] || return 0
  if ! database_answers; then
    problem "PostgreSQL does not answer on port $database_port, so it can not be seen whether $(live_servers | paste -sd ' ') is to be taken over"
    return
  fi
  for unit in $(servers_to_adopt); do
    problem "$unit, an MLflow server that was made by hand, is to be taken over"
  done
}

# --- taking over ---------------------------------------------------------------------------------------------------

demand_fitness() {
  local place parent=$artifacts site lacking
  is_there "$old_database" || refuse "$1" "there is no database $old_database"
  place=$(realpath --canonicalize-missing "${old_artifacts:-/nowhere}")
  if [[ -d $place && ! $place -ef $artifacts ]]; then
    [[ $artifacts/ != "$place"/* && $place/ != "$artifacts"/* ]] || refuse "$1" "of its artifacts' directory $place and $artifacts one holds the other: set artifacts.directory to another one on the same file system"
    [[ ! -d $artifacts || -z $(ls -A "$artifacts") ]] || refuse "$1" "there are artifacts in $old_artifacts and in $artifacts: set artifacts.directory to an empty directory"
    until [[ -d $parent ]]; do parent=$(dirname "$parent"); done
    [[ $(stat -c %d "$place") == "$(stat -c %d "$parent")" ]] ||
      refuse "$1" "its artifacts in $old_artifacts are on another file system than $artifacts: set artifacts.directory to a directory on theirs, outside of /home, or copy them yourself and leave a link ('mv $place $artifacts && ln -s $artifacts $place')"
  fi
  for site in $(sites_to "$old_port"); do
    [[ -z $(sed 's/#.*//' "$site" | grep --only-matching 'proxy_pass [^;]*' | grep --invert-match --extended-regexp ":$old_port|//[a-z_]+/?$" || true) ]] ||
      refuse "$1" "its site $site leads to other programs too: move those to a site of their own"
  done
  [[ $old_database == "$database" ]] || is_empty "$database" ||
    refuse "$1" "its database $old_database can not be called $database, for there is one of that name: set database.name to another name"
  lacking=$(check_room_for_copy "$old_database")
  [[ -z $lacking ]] || refuse "$1" "its database is to be copied and dumped: $lacking"
}

migrate_copy() {
  runuser --user postgres -- env --chdir /tmp "$release/bin/mlflow" db upgrade "postgresql+psycopg2:///$copy?host=/var/run/postgresql&port=$database_port"
}

rehearse() {
  has_schema "$old_database" || return 0
  say "rehearsing the migration of $old_database to MLflow $version on a copy"
  ! is_there "$copy" || sql postgres <<<"drop database \"$copy\" with (force)" # of a run that was cut off
  trap 'sql postgres <<<"drop database if exists \"$copy\" with (force)"' EXIT
  logged "copying the database" copy_database "$old_database" "$copy" postgres
  logged "rehearsing the migration (mlflow db upgrade on a copy)" migrate_copy
  sql postgres <<<"drop database \"$copy\" with (force)"
  trap - EXIT
}

sessions() { sql postgres <<<"select usename || ' (' || coalesce(nullif(application_name, ''), 'pid ' || pid) || ')' from pg_stat_activity where datname = '$old_database'"; }

# begin_again UNIT: it serves as before.
begin_again() {
  logged "starting $1 again" systemctl start "$1"
  rm "$marker"
}

# stop_server UNIT. Whoever else uses the database would be cut off, or write on beside us: then all stays as it was. The
# dump is the way back; a run that was cut off may have made it, unless the server has run since.
stop_server() {
  local deadline=$((SECONDS + 15)) others ran=no
  ! systemctl is-active --quiet "$1" || ran=yes
  say "stopping $1"
  logged "stopping $1" systemctl stop "$1"
  while [[ -n $(sessions) ]]; do
    if ((SECONDS >= deadline)); then
      others=$(sessions | sort -u | paste -sd ' ')
      begin_again "$1"
      fail "database $old_database is in use by others than $1: $others. $1 was started again, nothing else was changed. End them, then run again"
    fi
    sleep 0.2 # between two looks; no session is the condition
  done
  if has_schema "$old_database" && [[ $ran == yes || -z $(find "$dumps" -name '*-before-adoption.dump' -newer "$marker" 2>/dev/null || true) ]]; then
    (keep_dump "$old_database" adoption) || {
      begin_again "$1"
      exit 1
    }
  fi
  logged "disabling $1" systemctl disable "$1"
}

take_database() {
  [[ $old_database != "$database" ]] && is_there "$old_database" || return 0
  say "database $old_database is called $database from now on"
  is_empty "$database" || fail "database $database is not empty any more: drop or rename it, then run again"
  ! is_there "$database" || sql postgres <<<"drop database \"$database\""
  sql postgres <<<"alter database \"$old_database\" rename to \"$database\""
}

# The old place leads to the new one. Renamed, not copied.
take_artifacts() {
  local place
  [[ -n $old_artifacts ]] || return 0
  place=$(realpath --canonicalize-missing "$old_artifacts") # somebody may have put them elsewhere, with a link
  if [[ -d $place && ! $place -ef $artifacts ]]; then
    say "the artifacts of $place are in $artifacts from now on"
    mkdir -p "$(dirname "$artifacts")"
    [[ ! -d $artifacts ]] || rmdir "$artifacts"
    mv --no-target-directory "$place" "$artifacts"
  fi
  if [[ ! -d $artifacts ]]; then
    say "there are no artifacts in $old_artifacts"
    return
  fi
  chown --recursive --no-dereference "$account:$account" "$artifacts"
  [[ -e $place ]] || ln -s "$artifacts" "$place"
}

# Runs that name the old directory name the server from now on, so that clients get their artifacts from everywhere.
rename_artifacts() {
  [[ -n $old_artifacts ]] && has_schema "$database" || return 0
  sql "$database" <<SQL
do \$\$
declare
  place record;
  prefix text;
  directory text := '${old_artifacts//\'/\'\'}';
begin
  for place in
    select table_name, column_name from information_schema.columns
    where table_schema = 'public' and (table_name, column_name) in (
      ('experiments', 'artifact_location'), ('runs', 'artifact_uri'), ('logged_models', 'artifact_location'),
      ('model_versions', 'source'), ('model_versions', 'storage_location'), ('trace_tags', 'value'))
  loop
    foreach prefix in array array[directory, 'file:' || directory, 'file://' || directory, '${old_root//\'/\'\'}'] loop
      execute format('update %1\$I set %2\$I = ''mlflow-artifacts:'' || substr(%2\$I, length(%3\$L) + 1) where starts_with(%2\$I, %3\$L || ''/'')',
        place.table_name, place.column_name, prefix);
    end loop;
  end loop;
end \$\$
SQL
}

# Sites of nginx that lead to the server, but for ours.
sites_to() {
  grep --files-with-matches --extended-regexp "^[^#]*(proxy_pass +https?://|server +)(localhost|127\.0\.0\.1|\[::1\]|0\.0\.0\.0):$1\b" \
    /etc/nginx/sites-enabled/* /etc/nginx/conf.d/*.conf 2>/dev/null | grep --invert-match --line-regexp "$site_link" || true
}

# nginx reads every file in these directories: one that is no link is kept beside the other sites that are off.
switch_sites_off() {
  local site
  for site in $(sites_to "$old_port"); do
    say "switching off the site $site"
    if [[ -L $site ]]; then rm "$site"; else mv --backup=numbered "$site" /etc/nginx/sites-available/; fi
  done
  reload_nginx
}

apply() {
  local unit old_database old_port old_artifacts old_root
  start_database
  if [[ -e $marker ]]; then
    { read -r unit && read -r old_database && read -r old_port && read -r old_artifacts && read -r old_root; } <"$marker"
    say "going on with the take-over of $unit"
  else
    unit=$(servers_to_adopt)
    [[ -n $unit ]] || return 0
    [[ $(wc -l <<<"$unit") == 1 ]] || fail "there are several MLflow servers that were made by hand: $(paste -sd ' ' <<<"$unit"). Nothing was changed. Stop all but the one to take over ('systemctl disable --now …' on the host), then run again"
    read_server "$unit"
    if [[ $old_database == "$database" && -e $password_file ]]; then
      say "switching off $unit, whose database is ours already"
      logged "switching off $unit" systemctl disable --now "$unit"
      switch_sites_off
      return
    fi
    say "taking over $unit: database $old_database, artifacts $old_artifacts"
    demand_fitness "$unit"
    rehearse
    write_file "$marker" root:root 0644 "$(printf '%s\n' "$unit" "$old_database" "$old_port" "$old_artifacts" "$old_root")"
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
