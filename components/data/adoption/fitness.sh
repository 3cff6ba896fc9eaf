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
  require_artifacts_for_service "$1"
  require_artifacts_here "$1"
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

# require_artifacts_for_service UNIT: that they can be given to the service's user, or are open to it as they are mounted. It is
# tried with a directory of its own; where that user is not there yet, with nobody.
require_artifacts_for_service() {
  local place tried said code=0 kept is user status
  place=$(realpath --canonicalize-missing "$old_artifacts")
  [[ -n $old_artifacts && -d $place ]] || return 0
  user=$(has_entry passwd "$account")
  if [[ -n $user ]]; then user=$account; else user=nobody; fi
  tried=$place/.mlflow-vps
  mkdir -p "$tried"
  at_exit rmdir "$tried"
  said=$(chown "$user" "$tried" 2>&1) || code=$?
  kept=$(keeps_owners "$said")
  is=$(stat -c %U "$tried")
  exit_command_now
  [[ $code == 0 || -n $kept ]] || fail "cannot try whether the artifacts in $place can be given to the user $account: $said"
  [[ $code != 0 || $is != "$user" ]] || return 0
  attempt as_user "$user" test -w "$place"
  ((status == 0)) ||
    refuse "$1" "its artifacts in $place cannot be given to the user $account, who cannot write there (${said:-the file system keeps the owner}): make that user ('useradd --system $account') and mount the file system for it (CIFS, FAT: uid=$account,gid=$account; sshfs: allow_other,uid=…,gid=…)"
}

# require_artifacts_here UNIT: our server has the programs of no store elsewhere (boto3 and the like), and since 3.17 MLflow
# refuses some: the web interface could not show what clients still find there.
require_artifacts_here() {
  local stores='' schema
  [[ -n $old_artifacts ]] || stores=${old_root%%:*}
  schema=$(has_schema "$old_database")
  [[ -n $stores || -z $schema ]] || stores=$(stores_elsewhere)
  [[ -z $stores ]] ||
    refuse "$1" "artifacts of its experiments are in ${stores//$'\n'/, }, and the server of this program lists, shows and deletes only those on its own disk; docs/adoption.md says how to bring them to this host first"
}

# stores_elsewhere: the schemes of the places where what is not deleted has its artifacts, but for this host.
stores_elsewhere() {
  sql "$old_database" <<'SQL'
select distinct substring(place from '^[A-Za-z][A-Za-z0-9+.-]*') from (
  select artifact_location from public.experiments where lifecycle_stage = 'active' union
  select artifact_uri from public.runs where lifecycle_stage = 'active' union
  select unnest(array[source, to_jsonb(version)->>'storage_location']) -- that came with MLflow 2.7
    from public.model_versions as version where current_stage <> 'Deleted_Internal') as all_places(place)
where place ~ '^[A-Za-z][A-Za-z0-9+.-]*:' and place !~ '^(file|mlflow-artifacts|models|runs):' order by 1
SQL
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
