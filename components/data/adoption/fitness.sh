# shellcheck shell=bash
# Whether a server can be adopted: asked before anything is changed.

# mount_of PATH: the file system that it is on, or will be, as it is mounted; a rename leads to no other.
mount_of() {
  local existing=$1
  until [[ -d $existing ]]; do existing=${existing%/*} existing=${existing:-/}; done
  findmnt --noheadings --output TARGET --target "$existing"
}

require_adoptable() {
  local exists empty lacking
  exists=$(database_exists "$old_database")
  [[ -n $exists ]] || refuse "$1" "there is no database $old_database"
  require_movable_artifacts "$1"
  require_own_sites "$1"
  exists=$(database_exists "$database")
  if [[ $old_database != "$database" && -n $exists ]]; then
    empty=$(is_empty "$database")
    [[ -n $empty ]] || refuse "$1" "its database $old_database cannot be renamed to $database, which exists already: set database.name to another name"
  fi
  lacking=$(check_room_for_copy "$old_database")
  [[ -z $lacking ]] || refuse "$1" "its database must be copied and dumped: $lacking"
}

require_movable_artifacts() {
  local place target present from to
  [[ -n $old_artifacts ]] || return 0
  place=$(realpath --canonicalize-missing "$old_artifacts")
  target=$(realpath --canonicalize-missing "$artifacts")
  [[ -d $place && $place != "$target" ]] || return 0
  [[ $target/ != "$place"/* && $place/ != "$target"/* ]] || refuse "$1" "its artifacts' directory $place and $artifacts lie one within the other: set artifacts.directory to another one on the same file system"
  if [[ -d $target ]]; then
    present=$(ls -A "$target")
    [[ -z $present ]] || refuse "$1" "there are artifacts in $old_artifacts and in $artifacts: set artifacts.directory to an empty directory"
  fi
  from=$(mount_of "$place")
  to=$(mount_of "$target")
  [[ $from == "$to" ]] ||
    refuse "$1" "its artifacts in $old_artifacts are on another file system than $artifacts: set artifacts.directory to a directory on theirs, outside of /home, or copy them yourself and leave a link ('mv $place $artifacts && ln -s $artifacts $place')"
}

require_own_sites() {
  local sites site others
  sites=$(sites_to "$old_port")
  while IFS=$'\t' read -r site others; do
    [[ -z $others ]] || refuse "$1" "its site $site serves other programs too: move those to a site of their own ($others)"
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
  rehearse_migration "$old_database" postgres migrate_scratch
  exit_command_now # drops the copy
}
