# shellcheck shell=bash
# Its database and artifacts become ours, where they are.

# The new name must be free, or that of a database in which there is nothing.
take_database() {
  local old_exists new_exists empty drop=
  [[ $old_database != "$database" ]] || return 0
  old_exists=$(database_exists "$old_database")
  [[ -n $old_exists ]] || return 0 # it has the new name already
  say "database $old_database is now called $database"
  new_exists=$(database_exists "$database")
  if [[ -n $new_exists ]]; then
    empty=$(is_empty "$database")
    [[ -n $empty ]] || fail "database $database is no longer empty: drop or rename it, then run again"
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
    say "the artifacts of $place are now in $artifacts"
    mkdir -p "${target%/*}"
    # Unlike mv, it takes the place of an empty directory, and of no other.
    logged "moving the artifacts" python3 -c 'import os, sys; os.rename(sys.argv[1], sys.argv[2])' "$place" "$target"
  fi
  if [[ ! -d $artifacts ]]; then
    say "there are no artifacts in $old_artifacts"
    return
  fi
  give_artifacts "$target"
  [[ -e $place ]] || ln -s "$artifacts" "$place"
}

# give_artifacts DIRECTORY: where its file system cannot change owners, the service has them as they are mounted.
give_artifacts() {
  local said code=0 kept is others=''
  said=$(chown --recursive --no-dereference "$account:$account" "$1" 2>&1) || code=$?
  kept=$(keeps_owners "$said")
  is=$(stat -c %U "$1")
  # Where it changed this one, it does not refuse as such.
  [[ $code == 0 || $is != "$account" ]] || others=$(find "$1" ! -user "$account" -print -quit)
  [[ $code == 0 || (-n $kept && -z $others) ]] || fail "cannot give the artifacts to the user $account: ${said%%$'\n'*}"
}

# take_keys UNIT: what its users keep in it was encrypted with them.
take_keys() {
  local settings
  settings=$(settings_of "$1")
  keep_keys "$settings"
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
