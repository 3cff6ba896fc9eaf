# shellcheck shell=bash
# shellcheck disable=SC2154 # the values and the library stand before this text
# The tracking server on 127.0.0.1: instances of one unit, each on a port of its own. One serves; a changed one starts
# beside it, is proven, takes nginx over, and the one before is drained and stopped. A new release first migrates the
# database, rehearsed on a copy.

readonly unit_file=/etc/systemd/system/mlflow@.service
readonly earlier_unit_file=/etc/systemd/system/mlflow.service # of earlier versions of this project
readonly rotation_file=/etc/logrotate.d/mlflow
# Also where needrestart is not installed: it may be later.
readonly restart_rule_file=/etc/needrestart/conf.d/mlflow-vps.conf
readonly copy=${database}_rehearsal
readonly copy_password_file=$state_directory/pgpass-rehearsal
readonly copy_artifacts=$temporary/rehearsal

# --- instances, named by their port --------------------------------------------------------------------------------

environment_file() { echo "$state_directory/mlflow-$1.env"; }

# environment_of INSTANCE. Workers and job runner: the last size whose memory the host has, unless the settings say
# otherwise.
environment_of() {
  local memory row chosen_workers chosen_jobs
  memory=$(memory_mb)
  for row in "${sizes[@]}"; do
    read -r -a row <<<"$row"
    ((memory >= row[0])) || break
    chosen_workers=${row[1]} chosen_jobs=${row[2]}
  done
  printf '%s\n' "$managed" "$environment"
  printf 'MLFLOW_PORT=%s\n' "$1"
  printf 'MLFLOW_WORKERS=%s\n' "${workers/#auto/$chosen_workers}"
  printf 'MLFLOW_SERVER_ENABLE_JOB_EXECUTION=%s\n' "${jobs/#auto/$chosen_jobs}"
}

upstream_to() { printf '%s\nserver 127.0.0.1:%s;' "$managed" "$1"; }

running_instances() {
  systemctl list-units --plain --no-legend 'mlflow@*.service' | sed -n 's/^mlflow@\([0-9]*\)\.service .*/\1/p'
}
enabled_instances() {
  find /etc/systemd/system/multi-user.target.wants -name 'mlflow@*.service' | sed -n 's/.*@\([0-9]*\)\.service$/\1/p'
}

# other_instances INSTANCE: those beside this one.
other_instances() { { running_instances && enabled_instances; } | sort -u | grep --line-regexp --invert-match "$1" || true; }

# The one that nginx sends to, as the file says; where that one does not run and another does, the other. Nothing on a
# bare host.
serving_instance() {
  local running written
  running=$(running_instances)
  written=$(sed -n 's/^server 127\.0\.0\.1:\([0-9]*\);$/\1/p' "$upstream_file" 2>/dev/null) || written=
  if [[ -z $running ]] || grep --quiet --line-regexp "${written:-none}" <<<"$running"; then
    echo "$written"
  else
    head -n 1 <<<"$running"
  fi
}

main_process() { systemctl show --property MainPID --value "mlflow@$1.service"; }

answers() {
  curl --silent --noproxy '*' --fail --max-time 10 --output /dev/null --header 'Content-Type: application/json' \
    --data '{"max_results": 1}' "http://127.0.0.1:$1/api/2.0/mlflow/experiments/search"
}

# Names of the libraries and programs of the system that an instance's processes hold in memory and that are not on disk
# any more.
replaced_files() {
  local group
  group=$(systemctl show --property ControlGroup --value "mlflow@$1.service")
  # One that has just ended has no maps any more.
  sed 's|.*|/proc/&/maps|' "/sys/fs/cgroup$group/cgroup.procs" | xargs cat 2>/dev/null | sed -n 's|^[^/]* /usr/.*/\([^/]*\) (deleted)$|\1|p' | sort -u || true
}

# The service may write to the directories that were there when it started: one that was made anew is read-only for it.
check_reach() {
  [[ -w /proc/$process/root$1 ]] || problem "$name can not write to $1"
}

# check_instance INSTANCE: why another has to take its place; nothing when it serves as it should.
check_instance() {
  local process replaced name=mlflow@$1.service
  if [[ -z $1 ]]; then
    problem "the service does not run"
    return
  fi
  [[ $1 == "$port" || $1 == $((port + 1)) ]] || problem "$name serves, on neither port $port nor the next"
  check_file "$(environment_file "$1")" "root:$account" 0640 "$(environment_of "$1")"
  process=$(main_process "$1")
  if [[ $process == 0 ]]; then
    problem "$name does not run"
    return
  fi
  tr '\0' '\n' <"/proc/$process/cmdline" | grep --quiet --line-regexp --fixed-strings "$release/bin/mlflow" ||
    problem "$name runs another release than $release"
  ! older_than "$process" "$unit_file" "$(environment_file "$1")" ||
    problem "$name was started before its unit or environment file was last changed"
  replaced=$(replaced_files "$1" | paste -sd ' ')
  [[ -z $replaced ]] || problem "$name runs with libraries that an update has replaced since (${replaced// /, })"
  with_directories check_reach
  answers "$1" || problem "the MLflow API does not answer on 127.0.0.1:$1"
}

# listens PORT: some program takes connections there.
listens() {
  # tcp6 is not there without IPv6.
  { cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || true; } | awk -v port="$(printf ':%04X$' "$1")" '$2 ~ port && $4 == "0A" { found = 1 } END { exit !found }'
}

# start_instance INSTANCE [VARIABLES]: starts it, with these variables on top, and waits until it answers.
start_instance() {
  local name=mlflow@$1.service deadline=$((SECONDS + 180))
  write_file "$(environment_file "$1")" "root:$account" 0640 "$(environment_of "$1")${2:+$'\n'$2}"
  # What answers must be what is started here.
  logged "stopping what there is of $name" systemctl stop "$name"
  ! listens "$1" || fail "port $1 is taken by another program ('ss -ltnp' on the host shows it): stop that, or set service.port to a port that is free, like the next one"
  logged "starting $name" systemctl start "$name"
  until answers "$1"; do
    if ! systemctl is-active --quiet "$name" || ((SECONDS >= deadline)); then
      journalctl "_SYSTEMD_INVOCATION_ID=$(systemctl show --property InvocationID --value "$name")" --lines 15 --no-pager --output cat >&2
      stop_instance "$1"
      fail "MLflow $version does not answer on 127.0.0.1:$1; above are its last lines ('journalctl -u $name' on the host shows more)"
    fi
    sleep 0.2 # between two tries; the answer is the condition
  done
}

stop_instance() {
  logged "stopping mlflow@$1.service" systemctl disable --now "mlflow@$1.service"
  systemctl reset-failed "mlflow@$1.service" 2>/dev/null || true # most have not failed
  rm -f "$(environment_file "$1")"
}

# requests_to INSTANCE: how many connections to it are open.
requests_to() {
  awk -v port="$(printf ':%04X$' "$1")" '$2 ~ port && $4 == "01"' /proc/net/tcp | wc -l
}

# Workers of nginx from before a reload still read requests, which they will send to the instance that they know.
nginx_finishes() {
  local nginx
  nginx=$(systemctl show --property MainPID --value nginx.service)
  ((nginx > 0)) && sed 's|[0-9]\+|/proc/&/cmdline|g' "/proc/$nginx/task/$nginx/children" | xargs --no-run-if-empty grep --quiet --no-messages 'is shutting down'
}

# Lets it finish what it has begun, large uploads too, before it is stopped.
drain_instance() {
  local deadline=$((SECONDS + 600)) told=$((SECONDS + 5))
  while { (($(requests_to "$1") > 0)) || nginx_finishes; } && ((SECONDS < deadline)); do
    if ((SECONDS >= told)); then
      say "the one before still has requests to answer, waiting for them (10 minutes at most)"
      told=$deadline
    fi
    sleep 0.2 # between two looks; no open connection is the condition
  done
  stop_instance "$1"
}

# It runs and sends to the instance of before, until its configuration is put right.
nginx_is_stuck() { systemctl is-active --quiet nginx.service && [[ -e $site_link ]] && ! nginx -t -q 2>/dev/null; }

# Whether nginx can be told, and has a site of ours to tell it about; a damaged site is for the proxy step.
nginx_can_read() {
  systemctl is-active --quiet nginx.service && [[ -e $site_link ]] && nginx -t -q 2>/dev/null
}

# --- the database's schema -----------------------------------------------------------------------------------------

# The newest migration in the database; nothing in a new one; failure when the database does not answer.
database_schema() {
  PGPASSFILE=$password_file psql --no-psqlrc --no-password --quiet --tuples-only --no-align \
    --set ON_ERROR_STOP=1 "postgresql://$role@127.0.0.1:$database_port/$database" 2>/dev/null <<'SQL'
select to_regclass('public.alembic_version') is not null as present \gset
\if :present
select version_num from alembic_version;
\endif
SQL
}

check_schema() {
  local schema
  if ! schema=$(database_schema); then
    problem "the service's database does not answer"
  elif [[ $schema != "$(cat "$release/schema" 2>/dev/null)" ]]; then
    problem "the database's schema is not that of MLflow $version"
  fi
  [[ ! -e $copy_password_file ]] || problem "a rehearsal of a migration was cut off; its copy of the database is still there"
}

# migrate_to_release URI PASSWORD_FILE
migrate_to_release() {
  runuser --user "$account" -- env PGPASSFILE="$2" TMPDIR="$temporary" "$release/bin/mlflow" db upgrade "$1"
}

demand_way_forward() {
  local known=("$release"/lib/python3*/site-packages/mlflow/store/db_migrations/versions/"$1"_*.py)
  [[ -e ${known[0]} ]] ||
    fail "the database was migrated by a newer MLflow than $version, and there is no migration back. Nothing was changed. Set mlflow.version to the newer one again, or go back to a dump from before its migration and lose what was written since (README, 'Upgrades'). Dumps on the host: $(find "$dumps" -name '*.dump' 2>/dev/null | sort | paste -sd ' ')"
}

demand_room() {
  local lacking
  lacking=$(check_room_for_copy "$database")
  [[ -z $lacking ]] || fail "the migration needs a copy and a dump of the database, nothing was changed:"$'\n'"$lacking"
}

end_rehearsal() {
  ! grep --quiet --no-messages "/$copy\$" "$(environment_file "$1")" || stop_instance "$1"
  sql postgres <<<"drop database if exists \"$copy\" with (force)"
  rm -rf "$copy_artifacts" "$copy_password_file"
}

# rehearse INSTANCE: migrates a copy of the database and runs the new release on it, with artifacts of its own.
rehearse() {
  local copy_uri=${store_uri%/*}/$copy
  say "rehearsing the migration on a copy of the database"
  # shellcheck disable=SC2064 # the instance of now
  trap "end_rehearsal $1" EXIT
  write_file "$copy_password_file" "$account:$account" 0600 "$(sed "s/:$database:/:$copy:/" "$password_file")"
  logged "copying the database" copy_database "$database" "$copy" "$role"
  logged "rehearsing the migration (mlflow db upgrade on a copy)" migrate_to_release "$copy_uri" "$copy_password_file"
  make_directory "$copy_artifacts" "$account:$account" 0700
  start_instance "$1" "MLFLOW_BACKEND_STORE_URI=$copy_uri"$'\n'"PGPASSFILE=$copy_password_file"$'\n'"MLFLOW_ARTIFACTS_DESTINATION=$copy_artifacts"
  logged "trying MLflow $version on the copy" python3 -c "$smoke_test" "$1"
  end_rehearsal "$1"
  trap - EXIT
}

# The migration is one transaction. It and the requests wait for each other's locks; it gives up first, before
# PostgreSQL would end a request (deadlock_timeout, 1 s), and is tried again.
migrate_database() {
  local tries=20 output
  say "migrating the database to MLflow $version"
  until output=$(PGOPTIONS='-c lock_timeout=700ms' migrate_to_release "$store_uri" "$password_file" 2>&1); do
    logged "migrating the database (mlflow db upgrade)" cat <<<"$output"
    if [[ $output != *'lock timeout'* ]] || ((--tries == 0)); then
      fail "migrating the database; it is as it was: $(grep --extended-regexp '^[[:alnum:]_.]+(Error|Exception): ' <<<"$output" | tail -n 1 || tail -n 1 <<<"$output"). More in $log_file on the host"
    fi
  done
}

# migrate INSTANCE: brings the database to the release's schema, tried with this instance before.
migrate() {
  local schema
  schema=$(database_schema) || fail "the database does not answer"
  # A new database gets its tables from the first start.
  [[ -n $schema && $schema != "$(<"$release/schema")" ]] || return 0
  demand_way_forward "$schema"
  demand_room
  rehearse "$1"
  keep_dump "$database" "$version"
  migrate_database
}

# newest_last FIND_ARGUMENT...
newest_last() { { find "$@" -printf '%T@ %p\n' 2>/dev/null || true; } | sort --numeric-sort | cut -d ' ' -f 2-; }

# Keeps the last two of each: the release that serves and the newest other one; the dumps.
prune() {
  local old
  {
    newest_last "$(dirname "$release")" -mindepth 1 -maxdepth 1 -type d ! -path "$release" | head -n -1
    newest_last "$dumps" -name '*.dump' | head -n -2
  } | while read -r old; do
    say "removing $old"
    rm -rf "$old"
  done
}

# --- the step ------------------------------------------------------------------------------------------------------

# What must be there, for looking and for making: with_directories check_directory|make_directory|check_reach.
with_directories() {
  "$1" /var/lib/mlflow "$account:$account" 0750
  "$1" "$artifacts" "$account:$account" 0750
  "$1" "$temporary" "$account:$account" 0700
  "$1" /var/log/mlflow "$account:adm" 0750
}

# with_files check_file|write_file
with_files() {
  "$1" "$unit_file" root:root 0644 "$unit"
  "$1" "$rotation_file" root:root 0644 "$log_rotation"
  "$1" "$restart_rule_file" root:root 0644 "$restart_rule"
}

is_of_an_earlier_version() { head -n 1 "$earlier_unit_file" 2>/dev/null | grep --quiet --fixed-strings "$managed"; }

# check_place INSTANCE: that it, and no other, is used by nginx and starts at boot.
check_place() {
  local instance
  check_file "$upstream_file" root:root 0644 "$(upstream_to "$1")"
  enabled_instances | grep --quiet --line-regexp "$1" || problem "mlflow@$1.service does not start at boot"
  ! nginx_can_read || nginx_has_read "$upstream_file" || problem "nginx has not read $upstream_file as it is now"
  ! nginx_is_stuck || return 0
  for instance in $(other_instances "$1"); do
    problem "mlflow@$instance.service runs or starts at boot, but nginx does not use it"
  done
}

check() {
  local serving
  serving=$(serving_instance)
  check_account "$account"
  with_directories check_directory
  with_files check_file
  ! is_of_an_earlier_version || problem "$earlier_unit_file is of an earlier version of this program"
  check_schema
  check_instance "$serving"
  if [[ -n $serving ]]; then
    [[ $(systemctl show --property NeedDaemonReload --value "mlflow@$serving.service") == no ]] || problem "systemd has not read the unit as it is now"
    check_place "$serving"
  fi
}

# place INSTANCE: nginx sends to it from now on, and it starts at boot; then the others are stopped.
place() {
  local instance
  # In this order, so that a reboot in between leaves nginx with an instance that starts.
  logged "enabling mlflow@$1.service" systemctl enable "mlflow@$1.service"
  write_file "$upstream_file" root:root 0644 "$(upstream_to "$1")"
  if nginx_can_read; then
    nginx_has_read "$upstream_file" || reload_nginx "$upstream_file"
  elif nginx_is_stuck; then
    say "nginx refuses its configuration, so mlflow@$1.service takes over with the next up"
    return 0
  fi
  for instance in $(other_instances "$1"); do drain_instance "$instance"; done
}

apply() {
  local serving spare=$port
  make_account "$account"
  with_directories make_directory
  [[ -e /var/log/mlflow/server.log ]] || install -o "$account" -g adm -m 0640 /dev/null /var/log/mlflow/server.log
  with_files write_file
  if is_of_an_earlier_version; then
    say "stopping mlflow.service of an earlier version of this program; the new one starts in its place"
    logged "stopping mlflow.service" systemctl disable --now mlflow.service
    rm -f "$earlier_unit_file" "$state_directory/mlflow.env"
  fi
  systemctl daemon-reload
  serving=$(serving_instance)
  [[ $serving != "$port" ]] || spare=$((port + 1))
  [[ ! -e $copy_password_file ]] || end_rehearsal "$spare"
  migrate "$spare"
  if [[ -n $(check_instance "$serving") ]]; then
    say "starting MLflow $version on port $spare"
    start_instance "$spare"
    place "$spare"
  else
    place "$serving"
  fi
  prune
}

remove() {
  local instance
  for instance in $(other_instances none); do stop_instance "$instance"; done
  [[ ! -e $copy_password_file ]] || end_rehearsal none
  rm -f "$unit_file" "$state_directory"/mlflow-*.env "$upstream_file" "$rotation_file" "$restart_rule_file"
  # Directories that write_file made; needrestart's own hold more.
  rmdir --ignore-fail-on-non-empty "$(dirname "$restart_rule_file")" /etc/needrestart 2>/dev/null || true
  systemctl daemon-reload
  rm -rf "${temporary:?}"
  if [[ $delete_data == true ]]; then
    rm -rf "${artifacts:?}" /var/lib/mlflow /var/log/mlflow "$dumps"
    say "deleted the artifacts in $artifacts, the dumps and the logs, as data.deleteOnDestroy says"
  else
    say "kept: artifacts in $artifacts$([[ ! -d $dumps ]] || echo ", dumps of the database in $dumps")"
  fi
}
