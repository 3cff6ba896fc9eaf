# shellcheck shell=bash
# The database has the schema of the release: a new one gets it from the first start of the service; one of another release
# is migrated, while the service goes on with it, after a rehearsal on a copy and a dump.

check() {
  local schema refusal known
  read_schema
  known=$(content_of "$release/schema")
  if [[ -n $refusal ]]; then
    problem "the service's database does not answer: ${refusal//$'\n'/ }"
  elif [[ -n $schema && $schema != "$known" ]]; then
    problem "the database's schema is not that of MLflow $version"
  fi
  [[ ! -e $copy_password_file ]] || problem "a rehearsal of a migration was interrupted; its copy of the database is still there"
}

apply() {
  local schema refusal known
  [[ ! -e $copy_password_file ]] || end_rehearsal
  read_schema
  [[ -z $refusal ]] || fail "the database does not answer: $refusal"
  known=$(<"$release/schema")
  [[ -n $schema && $schema != "$known" ]] || return 0
  require_upgrade_path "$schema"
  require_room
  await_late_instance
  rehearse
  keep_dump "$database" "$database" "$version"
  migrate_database
  prune_dumps
}

# The dumps from before the last two upgrades stay. The one from before an adoption stays too: it is the only way back. So
# do those of another database.
prune_dumps() {
  local upgrades old
  upgrades=$(newest_last "$dumps" -name "$database-????????T??????Z-before-*.dump" ! -name '*-before-adoption.dump')
  head -n -2 <<<"$upgrades" | while read -r old; do
    say "removing $old"
    rm -f "$old"
  done
}

remove() {
  [[ ! -e $copy_password_file ]] || end_rehearsal
  [[ -d $dumps ]] || return 0
  if [[ $delete_data == true ]]; then
    delete_directory "$dumps"
    say "deleted the dumps of the database, as data.deleteOnDestroy says"
  else
    say "kept: dumps of the database in $dumps"
  fi
}
