# shellcheck shell=bash
# The tracking server on 127.0.0.1: instances of one unit, each on a port of its own. One serves; a changed one starts
# beside it, is proven, takes nginx over, and the one before is drained and stopped. A new release first migrates the
# database, rehearsed on a copy.

readonly unit_directory=/etc/systemd/system
readonly boot_directory=$unit_directory/multi-user.target.wants
readonly template_file=$unit_directory/mlflow@.service    # of the version before: one unit for all instances
readonly earlier_unit_file=$unit_directory/mlflow.service # of versions before that
readonly rotation_file=/etc/logrotate.d/mlflow
# Also where needrestart is not installed: it may be later.
readonly restart_rule_file=/etc/needrestart/conf.d/mlflow-vps.conf
readonly copy_uri=${store_uri%/*}/$scratch_database
readonly copy_password_file=$state_directory/pgpass-rehearsal
readonly copy_artifacts=$temporary/rehearsal
readonly copy_address=127.0.0.2 # where nginx never leads to
readonly -a migration=(as_user "$account" env "TMPDIR=$temporary" "$release/bin/mlflow" db upgrade)
readonly header_seconds=15 # which nginx gives a client for the header of a request (see the site)
readonly drain_seconds=600

# --- instances, named by their port --------------------------------------------------------------------------------

# Each has files of its own (unit, environment, launcher), so that a change leaves the one that serves, and its next start,
# as they are.

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

# with_files_of INSTANCE check_file|write_file [VARIABLES]: with these variables on top.
with_files_of() {
  local text
  text=$(environment_of "$1")
  "$2" "$unit_directory/mlflow@$1.service" root:root 0644 "$unit"
  "$2" "$state_directory/mlflow-$1.py" root:root 0644 "$launcher"
  "$2" "$state_directory/mlflow-$1.env" "root:$account" 0640 "$text${3:+$'\n'$3}"
}

# spare_of INSTANCE: the other one of the two ports.
spare_of() { if [[ $1 == "$port" ]]; then echo $((port + 1)); else echo "$port"; fi; }

# upstream_to INSTANCE. The other one is named too: a worker of nginx from before a reload may read a request until the
# instance that it knows is gone, and then finds the one that has followed.
upstream_to() {
  local spare
  spare=$(spare_of "$1")
  printf '%s\n' "$managed" "server 127.0.0.1:$1 max_fails=0;" "server 127.0.0.1:$spare max_fails=0 backup;"
}

running_instances() {
  systemctl list-units --plain --no-legend 'mlflow@*.service' | sed -n 's/^mlflow@\([0-9]*\)\.service .*/\1/p'
}
enabled_instances() { find "$boot_directory" -name 'mlflow@*.service' | sed -n 's/.*@\([0-9]*\)\.service$/\1/p'; }

# is_ours FILE: whether it is there, and this program wrote it.
is_ours() {
  local first
  [[ -e $1 ]] || return 0
  first=$(head -n 1 "$1")
  [[ $first != "$managed" ]] || echo yes
}

# Those of ours that run, start at boot or have left files. A unit of that name that somebody else made is not ours.
our_instances() {
  local running enabled all file files='' instance ours
  running=$(running_instances)
  enabled=$(enabled_instances)
  for file in "$unit_directory"/mlflow@*.service "$state_directory"/mlflow-*.{env,py}; do
    [[ ! $file =~ [@-]([0-9]+)\.(service|env|py)$ ]] || files+=${BASH_REMATCH[1]}$'\n'
  done
  all=$(sort -u <<<"$running"$'\n'"$enabled"$'\n'"$files")
  for instance in $all; do
    file=$unit_directory/mlflow@$instance.service
    [[ -e $file ]] || file=$template_file
    ours=$(is_ours "$file")
    [[ -z $ours && -e $file && ! -e $state_directory/mlflow-$instance.env ]] || echo "$instance"
  done
}

# other_instances INSTANCE: ours beside this one.
other_instances() {
  local ours
  ours=$(our_instances)
  sed "/^$1\$/d; /^\$/d" <<<"$ours"
}

# The one that nginx sends to, as the file says; where that one does not run and another does, the other, first one that
# starts at boot. Nothing on a bare host.
serving_instance() {
  local running text written instance
  running=$(running_instances)
  text=$(content_of "$upstream_file")
  written=$(sed -n '/backup/d; s/^server 127\.0\.0\.1:\([0-9]*\).*;$/\1/p' <<<"$text")
  if [[ -z $running || " ${running//$'\n'/ } " == *" ${written:-none} "* ]]; then
    echo "$written"
    return
  fi
  for instance in $running; do
    if [[ -L $boot_directory/mlflow@$instance.service ]]; then
      echo "$instance"
      return
    fi
  done
  echo "${running%%$'\n'*}"
}

# answers ADDRESS: whether the API does there.
answers() {
  local code=0
  curl --silent --noproxy '*' --fail --max-time 10 --output /dev/null --header 'Content-Type: application/json' \
    --data '{"max_results": 1}' "http://$1/api/2.0/mlflow/experiments/search" || code=$?
  ((code < 126)) || fail "curl cannot be run"
  ((code != 0)) || echo yes
}

# Names of the libraries and programs of the system that an instance's processes hold in memory and that are not on disk
# any more.
replaced_files() {
  local processes process maps
  processes=$(processes_of "mlflow@$1.service")
  for process in $processes; do
    maps=$(maps_of "$process")
    sed -n 's|^[^/]* /usr/.*/\([^/]*\) (deleted)$|\1|p' <<<"$maps"
  done | sort -u
}

# check_reach UNIT PROCESS DIRECTORY: the service may write to the directories that were there when it started: one that
# was made anew is read-only for it.
check_reach() { [[ -w /proc/$2/root$3 ]] || problem "$1 can not write to $3"; }

# check_instance INSTANCE: why another has to take its place; nothing when it serves as it should.
check_instance() {
  local process command outdated replaced answer name=mlflow@$1.service
  if [[ -z $1 ]]; then
    problem "the service does not run"
    return
  fi
  [[ $1 == "$port" || $1 == $((port + 1)) ]] || problem "$name serves, on neither port $port nor the next"
  with_files_of "$1" check_file
  process=$(unit_property "$name" MainPID)
  if [[ $process == 0 ]]; then
    problem "$name does not run"
    return
  fi
  command=$(command_line_of "$process")
  [[ $command == "$release/bin/python "* ]] || problem "$name runs another release than $release"
  outdated=$(older_than "$process" "$unit_directory/$name" "$state_directory/mlflow-$1".{env,py})
  [[ -z $outdated ]] || problem "$name was started before its unit, environment file or launcher was last changed"
  outdated=$(older_than "$process" "$release/.contents")
  [[ -z $outdated ]] || problem "$name was started before its release was last put right"
  replaced=$(replaced_files "$1")
  [[ -z $replaced ]] || problem "$name runs with libraries that an update has replaced since (${replaced//$'\n'/, })"
  with_directories check_reach "$name" "$process"
  answer=$(answers "127.0.0.1:$1")
  [[ -n $answer ]] || problem "the MLflow API does not answer on 127.0.0.1:$1"
}

# --- jobs ----------------------------------------------------------------------------------------------------------

# MLflow's job runner begins all unfinished jobs anew ten seconds after its start, whoever works on them. So the one of a
# new instance is halted until the instance before has finished its jobs: each runs once.

# job_runner_of INSTANCE: its process; nothing where jobs are off, or it has not started yet.
job_runner_of() {
  local processes process command
  processes=$(processes_of "mlflow@$1.service")
  for process in $processes; do
    command=$(command_line_of "$process")
    [[ $command != *' -m mlflow.server.jobs._job_runner '* ]] || echo "$process"
  done
}

# signal_job_runner INSTANCE SIGNAL
signal_job_runner() {
  local runners runner
  runners=$(job_runner_of "$1")
  for runner in $runners; do
    # It may end at any time.
    kill "-$2" "$runner" 2>/dev/null || [[ ! -e /proc/$runner ]] || fail "cannot send $2 to process $runner, the job runner of mlflow@$1.service"
  done
}

# unfinished_jobs INSTANCE: how many it works on or has queued, while the job runner of no other instance does anything.
unfinished_jobs() {
  local runner directory queued running
  runner=$(job_runner_of "$1")
  if [[ -z $runner ]]; then
    echo 0
    return
  fi
  runner=${runner%%$'\n'*}
  directory=$(tr '\0' '\n' <"/proc/$runner/environ" | sed -n 's/^_MLFLOW_HUEY_STORAGE_PATH=//p')
  [[ -n $directory ]] || fail "process $runner, the job runner of mlflow@$1.service, does not say where its queues are"
  # In this order: a job has left the queue when the database begins to call it running (1).
  queued=$(python3 -c "$queued_jobs" "/proc/$runner/root$directory")
  running=$(sql "$database" <<<'select count(*) from public.jobs where status = 1')
  echo $((queued + running))
}

# --- starting and stopping -----------------------------------------------------------------------------------------

# start_instance INSTANCE ADDRESS [VARIABLES]: starts it, with these variables on top, and waits until it answers there.
# Its job runner is halted.
start_instance() {
  local name=mlflow@$1.service deadline=$((SECONDS + 180)) taken answer active invocation
  with_files_of "$1" write_file "${3:-}"
  systemctl daemon-reload
  # What answers must be what is started here.
  logged "stopping what there is of $name" systemctl stop "$name"
  taken=$(listener_inode "${2#*:}")
  if [[ -n $taken ]]; then
    stop_instance "$1"
    fail "port ${2#*:} is taken by another program ('ss -ltnp' on the host shows it): stop that, or set service.port to a port that is free, like the next one"
  fi
  logged "starting $name" systemctl start "$name"
  while true; do
    signal_job_runner "$1" STOP
    answer=$(answers "$2")
    [[ -z $answer ]] || return 0
    active=$(is_active "$name")
    if [[ -z $active ]] || ((SECONDS >= deadline)); then
      invocation=$(unit_property "$name" InvocationID)
      journalctl "_SYSTEMD_INVOCATION_ID=$invocation" --lines 15 --no-pager --output cat >&2
      stop_instance "$1"
      fail "MLflow $version does not answer on $2; above are its last lines ('journalctl -u $name' on the host shows more)"
    fi
    sleep 0.2 # between two tries; the answer is the condition
  done
}

# stop_instance INSTANCE: also one whose files somebody took away.
stop_instance() {
  local name=mlflow@$1.service state
  rm -f "$boot_directory/$name"
  state=$(unit_property "$name" ActiveState)
  [[ $state == inactive ]] || logged "stopping $name" systemctl stop "$name"
  state=$(unit_property "$name" ActiveState)
  [[ $state != failed ]] || systemctl reset-failed "$name"
  rm -f "$unit_directory/$name" "$state_directory/mlflow-$1".{env,py}
  systemctl daemon-reload
}

# drain_instance INSTANCE SECONDS: lets it finish what it has begun, large uploads and jobs too, before it is stopped. No
# request is cut: with one that takes longer than 'drain_seconds' it is left running, without jobs: the next instance
# begins those anew. So long at most, the workers of nginx from before a reload are waited for as well: they may send it
# one more request.
drain_instance() {
  local begun=$SECONDS told='' open late unfinished name=mlflow@$1.service
  rm -f "$boot_directory/$name"
  while true; do
    open=$(connections_to "$1")
    late=''
    ((SECONDS - begun >= $2)) || late=$(outgoing_workers)
    unfinished=$(unfinished_jobs "$1")
    if ((open == 0 && unfinished == 0)) && [[ -z $late ]]; then
      stop_instance "$1"
      return
    fi
    if ((SECONDS - begun >= drain_seconds)); then
      ((unfinished == 0)) || say "jobs of $name ($unfinished) are not finished after $((drain_seconds / 60)) minutes: they begin anew, those submitted during this change at the next start"
      signal_job_runner "$1" KILL # what it started ends with it
      if ((open == 0)); then
        stop_instance "$1"
        return
      fi
      say "$name still answers requests ($open open) after $((drain_seconds / 60)) minutes: it is left running, and the first 'pulumi up --refresh' after their end stops it"
      return
    fi
    if [[ -z $told ]] && ((SECONDS - begun >= 5)); then
      say "draining $name: waiting for its last requests ($open open) and jobs ($unfinished), $((drain_seconds / 60)) minutes at most"
      told=yes
    fi
    sleep 0.2 # between two looks; no open connection is the condition
  done
}

# was_left_running INSTANCE: whether it still answers requests from before it was drained, as it may.
was_left_running() {
  local open runner
  [[ ! -L $boot_directory/mlflow@$1.service ]] || return 0
  # Its drain was cut off, if it still runs jobs.
  runner=$(job_runner_of "$1")
  [[ -z $runner ]] || return 0
  open=$(connections_to "$1")
  ((open == 0)) || echo yes
}

# vacate INSTANCE: its port is needed.
vacate() {
  local state open name=mlflow@$1.service
  state=$(unit_property "$name" ActiveState)
  [[ $state != inactive ]] || return 0
  drain_instance "$1" "$header_seconds"
  open=$(connections_to "$1")
  ((open == 0)) ||
    fail "$name, which served before the last change, still answers requests ($open open), and its port is needed. The service was not changed. Run this again when they have ended, or end them: 'sudo systemctl stop $name' on the host"
}

# What nginx makes of our files: 'ready' to read them; 'stuck' when it refuses its configuration and sends to the instance
# of before until that is put right. Nothing when it does not run or has no site of ours, which is for the proxy step.
nginx_state() {
  local active refusal
  active=$(is_active nginx.service)
  [[ -n $active && -e $site_link ]] || return 0
  refusal=$(nginx_refusal)
  if [[ -z $refusal ]]; then echo ready; else echo stuck; fi
}

# --- the database's schema -----------------------------------------------------------------------------------------

# read_schema: $schema is the newest migration in the database, nothing in a new one; $refusal is why there is no answer.
read_schema() {
  local psql code=0
  refusal=''
  psql=$(client psql)
  schema=$(
    PGPASSFILE=$password_file "$psql" --no-psqlrc --no-password --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 \
      "postgresql://$role@127.0.0.1:$database_port/$database" 2>&1 <<'SQL'
select to_regclass('public.alembic_version') is not null as present \gset
\if :present
select version_num from alembic_version;
\endif
SQL
  ) || code=$?
  ((code == 0)) || refusal=${schema:-psql exited $code}
}

check_schema() {
  local schema refusal known
  read_schema
  known=$(content_of "$release/schema")
  if [[ -n $refusal ]]; then
    problem "the service's database does not answer: ${refusal//$'\n'/ }"
  elif [[ $schema != "$known" ]]; then
    problem "the database's schema is not that of MLflow $version"
  fi
  [[ ! -e $copy_password_file ]] || problem "a rehearsal of a migration was cut off; its copy of the database is still there"
}

require_upgrade_path() {
  local known=("$release"/lib/python3*/site-packages/mlflow/store/db_migrations/versions/"$1"_*.py) found_dumps
  [[ ! -e ${known[0]} ]] || return 0
  found_dumps=$(newest_last "$dumps" -name '*.dump')
  fail "the database was migrated by a newer MLflow than $version, and there is no migration back. Nothing was changed. Set mlflow.version to the newer one again, or go back to a dump from before its migration and lose what was written since (README, 'Upgrades'). Dumps on the host: ${found_dumps//$'\n'/ }"
}

require_room() {
  local lacking
  lacking=$(check_room_for_copy "$database")
  [[ -z $lacking ]] || fail "the migration needs a copy and a dump of the database, nothing was changed:"$'\n'"$lacking"
}

end_rehearsal() {
  stop_instance rehearsal
  drop_scratch
  rm -rf "$copy_artifacts"
  rm -f "$copy_password_file" # by which a rehearsal that was cut off is seen
}

# rehearse PORT: migrates a copy of the database and runs the new release on it, with artifacts of its own, on an address
# of its own: nginx sends requests to the port where the instance that serves is gone.
rehearse() {
  local text address=$copy_address:$1
  say "rehearsing the migration on a copy of the database"
  text=$(sed "s/:$database:/:$scratch_database:/" "$password_file")
  at_exit end_rehearsal
  write_file "$copy_password_file" "$account:$account" 0600 "$text"
  make_scratch "$role"
  logged "copying the database" copy_to_scratch "$database"
  PGPASSFILE=$copy_password_file logged "rehearsing the migration (mlflow db upgrade on a copy)" "${migration[@]}" "$copy_uri"
  make_directory "$copy_artifacts" "$account:$account" 0700
  start_instance rehearsal "$address" "MLFLOW_HOST=$copy_address
MLFLOW_PORT=$1
MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
MLFLOW_SERVER_ALLOWED_HOSTS=$copy_address:*
MLFLOW_BACKEND_STORE_URI=$copy_uri
PGPASSFILE=$copy_password_file
MLFLOW_ARTIFACTS_DESTINATION=$copy_artifacts"
  logged "trying MLflow $version on the copy" python3 -c "$smoke_test" "$address"
  stop_instance rehearsal
  exit_command_now # of make_scratch
  exit_command_now
}

# The migration is one transaction. It and the requests wait for each other's locks; it gives up first, before
# PostgreSQL would end a request (deadlock_timeout, 1 s), and is tried again.
migrate_database() {
  local tries=20 output cause code
  say "migrating the database to MLflow $version"
  while true; do
    code=0
    output=$(PGPASSFILE=$password_file PGOPTIONS='-c lock_timeout=700ms' "${migration[@]}" "$store_uri" 2>&1) || code=$?
    ((code != 0)) || return 0
    logged "migrating the database (mlflow db upgrade)" cat <<<"$output"
    if [[ $output != *'lock timeout'* ]] || ((--tries == 0)); then
      cause=$(found --extended-regexp '^[[:alnum:]_.]+(Error|Exception): ' <<<"$output" | tail -n 1)
      fail "migrating the database; it is as it was: ${cause:-${output##*$'\n'}}. More in $log_file on the host"
    fi
  done
}

# migrate PORT: brings the database to the release's schema, tried on this port before.
migrate() {
  local schema refusal known
  read_schema
  [[ -z $refusal ]] || fail "the database does not answer: $refusal"
  known=$(<"$release/schema")
  # A new database gets its tables from the first start.
  [[ -n $schema && $schema != "$known" ]] || return 0
  require_upgrade_path "$schema"
  require_room
  vacate "$1"
  rehearse "$1"
  keep_dump "$database" "$version"
  migrate_database
}

# newest_last DIRECTORY FIND_ARGUMENT...
newest_last() { [[ ! -d $1 ]] || find "$@" -printf '%T@ %p\n' | sort --numeric-sort | cut -d ' ' -f 2-; }

# Keeps the release that serves and the newest other one, and each that an instance still runs; the dumps from before the
# last two upgrades. The dump from before an adoption stays: it is the only way back. So do those of another database.
prune() {
  local releases upgrades old used
  releases=$(newest_last "${release%/*}" -mindepth 1 -maxdepth 1 -type d ! -path "$release")
  upgrades=$(newest_last "$dumps" -name "$database-????????T??????Z-before-*.dump" ! -name '*-before-adoption.dump')
  used=$(cat "$state_directory"/mlflow-*.env)
  {
    head -n -1 <<<"$releases"
    head -n -2 <<<"$upgrades"
  } | while read -r old; do
    [[ $'\n'$used$'\n' != *"=$old"$'\n'* ]] || continue
    say "removing $old"
    rm -rf "$old"
  done
}

# --- the step ------------------------------------------------------------------------------------------------------

# What must be there, for looking and for making: with_directories check_directory|make_directory|check_reach ARGUMENT...
with_directories() {
  "$@" /var/lib/mlflow "$account:$account" 0750
  "$@" "$artifacts" "$account:$account" 0750
  "$@" "$temporary" "$account:$account" 0700
  "$@" /var/log/mlflow "$account:adm" 0750
}

# with_files check_file|write_file
with_files() {
  "$1" "$rotation_file" root:root 0644 "$log_rotation"
  "$1" "$restart_rule_file" root:root 0644 "$restart_rule"
}

# Whether the template of the version before is still there, and no instance needs it.
template_is_left() {
  local ours instances instance
  ours=$(is_ours "$template_file")
  [[ -n $ours ]] || return 0
  instances=$(our_instances)
  for instance in $instances; do
    [[ -e $unit_directory/mlflow@$instance.service ]] || return 0
  done
  echo yes
}

check_earlier_versions() {
  local ours left
  ours=$(is_ours "$earlier_unit_file")
  [[ -z $ours ]] || problem "$earlier_unit_file is of an earlier version of this program"
  left=$(template_is_left)
  [[ -z $left ]] || problem "$template_file is of an earlier version of this program"
}

# check_place INSTANCE: that it, and no other, is used by nginx and starts at boot.
check_place() {
  local text state read others instance busy active runner halted
  text=$(upstream_to "$1")
  check_file "$upstream_file" root:root 0644 "$text"
  [[ -L $boot_directory/mlflow@$1.service ]] || problem "mlflow@$1.service does not start at boot"
  state=$(nginx_state)
  [[ $state != stuck ]] || return 0
  runner=$(job_runner_of "$1")
  halted=$(is_halted "${runner:-none}")
  [[ -z $halted ]] || problem "the job runner of mlflow@$1.service is halted"
  if [[ $state == ready ]]; then
    read=$(nginx_has_read "$upstream_file")
    [[ -n $read ]] || problem "nginx has not read $upstream_file as it is now"
  fi
  others=$(other_instances "$1")
  for instance in $others; do
    busy=$(was_left_running "$instance")
    active=$(unit_property "mlflow@$instance.service" ActiveState)
    if [[ $active == inactive && ! -L $boot_directory/mlflow@$instance.service ]]; then
      problem "mlflow@$instance.service is not used, but its files are still there"
    elif [[ -z $busy ]]; then
      problem "mlflow@$instance.service runs or starts at boot, but nginx does not use it"
    fi
  done
}

check() {
  local serving reload
  serving=$(serving_instance)
  check_account "$account"
  with_directories check_directory
  with_files check_file
  check_earlier_versions
  check_schema
  check_instance "$serving"
  if [[ -n $serving ]]; then
    reload=$(unit_property "mlflow@$serving.service" NeedDaemonReload)
    [[ $reload == no ]] || problem "systemd has not read the unit as it is now"
    check_place "$serving"
  fi
}

# place INSTANCE: nginx sends to it from now on, and it starts at boot; then the others are stopped.
place() {
  local text state read others instance busy seconds=$header_seconds
  # In this order, so that a reboot in between leaves nginx with an instance that starts.
  logged "enabling mlflow@$1.service" systemctl enable --force "mlflow@$1.service"
  # Workers of nginx that do not know it need the others for as long as they read requests.
  text=$(content_of "$upstream_file")
  [[ $text == *":$1 "* ]] || seconds=$drain_seconds
  text=$(upstream_to "$1")
  write_file "$upstream_file" root:root 0644 "$text"
  state=$(nginx_state)
  if [[ $state == ready ]]; then
    read=$(nginx_has_read "$upstream_file")
    [[ -n $read ]] || reload_nginx "$upstream_file"
  elif [[ $state == stuck ]]; then
    say "nginx refuses its configuration, so mlflow@$1.service takes over with the next up"
    return 0
  fi
  others=$(other_instances "$1")
  for instance in $others; do
    busy=$(was_left_running "$instance")
    [[ -n $busy ]] || drain_instance "$instance" "$seconds"
  done
  signal_job_runner "$1" CONT
}

apply() {
  local serving spare ours left wrong
  make_account "$account"
  with_directories make_directory
  [[ -e /var/log/mlflow/server.log ]] || install -o "$account" -g adm -m 0640 /dev/null /var/log/mlflow/server.log
  with_files write_file
  ours=$(is_ours "$earlier_unit_file")
  if [[ -n $ours ]]; then
    say "stopping mlflow.service of an earlier version of this program; the new one starts in its place"
    logged "stopping mlflow.service" systemctl disable --now mlflow.service
    rm -f "$earlier_unit_file" "$state_directory/mlflow.env"
  fi
  systemctl daemon-reload
  [[ ! -e $copy_password_file ]] || end_rehearsal
  serving=$(serving_instance)
  spare=$(spare_of "$serving")
  migrate "$spare"
  wrong=$(check_instance "$serving")
  if [[ -n $wrong ]]; then
    vacate "$spare"
    say "starting MLflow $version on port $spare"
    start_instance "$spare" "127.0.0.1:$spare"
    place "$spare"
  else
    place "$serving"
  fi
  left=$(template_is_left)
  [[ -z $left ]] || rm -f "$template_file"
  systemctl daemon-reload
  prune
}

remove() {
  local instances instance ours directory kept="artifacts in $artifacts"
  instances=$(our_instances)
  for instance in $instances; do stop_instance "$instance"; done
  [[ ! -e $copy_password_file ]] || end_rehearsal
  ours=$(is_ours "$template_file")
  [[ -z $ours ]] || rm -f "$template_file"
  rm -f "$upstream_file" "$rotation_file" "$restart_rule_file"
  # Directories that write_file made; needrestart's own hold more.
  for directory in "${restart_rule_file%/*}" /etc/needrestart; do
    [[ ! -d $directory ]] || rmdir --ignore-fail-on-non-empty "$directory"
  done
  systemctl daemon-reload
  delete_directory "$temporary"
  if [[ $delete_data == true ]]; then
    for directory in "$artifacts" /var/lib/mlflow /var/log/mlflow "$dumps"; do delete_directory "$directory"; done
    say "deleted the artifacts in $artifacts, the dumps and the logs, as data.deleteOnDestroy says"
  else
    [[ ! -d $dumps ]] || kept+=", dumps of the database in $dumps"
    say "kept: $kept"
  fi
}
