# shellcheck shell=bash
# shellcheck disable=SC2154 # the values and the library stand before this text
# The tracking server as a systemd service on 127.0.0.1.

readonly unit_file=/etc/systemd/system/mlflow.service
readonly environment_file=$state_directory/mlflow.env
readonly rotation_file=/etc/logrotate.d/mlflow
# Also where needrestart is not installed: it may be later.
readonly restart_rule_file=/etc/needrestart/conf.d/mlflow-vps.conf

# Workers and job runner: the last size whose memory the host has, unless the settings say otherwise.
full_environment() {
  local memory row chosen_workers chosen_jobs
  memory=$(memory_mb)
  for row in "${sizes[@]}"; do
    read -r -a row <<<"$row"
    ((memory >= row[0])) || break
    chosen_workers=${row[1]} chosen_jobs=${row[2]}
  done
  printf '%s\n' "$managed" "$environment"
  printf 'MLFLOW_WORKERS=%s\n' "${workers/#auto/$chosen_workers}"
  printf 'MLFLOW_SERVER_ENABLE_JOB_EXECUTION=%s\n' "${jobs/#auto/$chosen_jobs}"
}

main_process() { systemctl show --property MainPID --value mlflow.service; }

answers() {
  curl --silent --noproxy '*' --fail --max-time 10 --output /dev/null --header 'Content-Type: application/json' \
    --data '{"max_results": 1}' "http://127.0.0.1:$port/api/2.0/mlflow/experiments/search"
}

# Names of the libraries and programs of the system that the service's processes hold in memory and that are not on disk
# any more.
replaced_files() {
  local group process
  group=$(systemctl show --property ControlGroup --value mlflow.service)
  for process in $(<"/sys/fs/cgroup$group/cgroup.procs"); do
    cat "/proc/$process/maps" 2>/dev/null || true # it may just have ended
  done | sed -n 's|^[^/]* /usr/.*/\([^/]*\) (deleted)$|\1|p' | sort -u
}

# What a running service still has from before; such a service needs a restart.
check_process() {
  local process replaced
  process=$(main_process)
  if [[ $process == 0 ]]; then
    problem "mlflow.service does not run"
    return
  fi
  tr '\0' '\n' <"/proc/$process/cmdline" | grep --quiet --line-regexp --fixed-strings "$release/bin/mlflow" ||
    problem "mlflow.service runs another release than $release"
  ! older_than "$process" "$unit_file" "$environment_file" ||
    problem "mlflow.service was started before its unit or environment file was last changed"
  replaced=$(replaced_files | paste -sd ' ')
  [[ -z $replaced ]] ||
    problem "mlflow.service runs with libraries that an update has replaced since (${replaced// /, })"
  with_directories check_reach
}

# The service may write to the directories that were there when it started: one that was made anew is read-only for it.
check_reach() {
  [[ -w /proc/$process/root$1 ]] || problem "mlflow.service can not write to $1"
}

# The newest migration in the database; nothing in a new one; failure when the database does not answer.
database_schema() {
  PGPASSFILE=$password_file psql --no-psqlrc --no-password --quiet --tuples-only --no-align \
    --set ON_ERROR_STOP=1 "$database_address" 2>/dev/null <<'SQL'
select to_regclass('public.alembic_version') is not null as present \gset
\if :present
select version_num from alembic_version;
\endif
SQL
}

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
  "$1" "$environment_file" "root:$account" 0640 "$(full_environment)"
  "$1" "$rotation_file" root:root 0644 "$log_rotation"
  "$1" "$restart_rule_file" root:root 0644 "$restart_rule"
}

check_schema() {
  local schema
  if ! schema=$(database_schema); then
    problem "the service's database does not answer"
  elif [[ $schema != "$(cat "$release/schema" 2>/dev/null)" ]]; then
    problem "the database's schema is not that of MLflow $version"
  fi
}

check() {
  check_account "$account"
  with_directories check_directory
  with_files check_file
  [[ $(systemctl show --property NeedDaemonReload --value mlflow.service) == no ]] || problem "systemd has not read the unit as it is now"
  systemctl is-enabled --quiet mlflow.service 2>/dev/null || problem "mlflow.service does not start at boot"
  check_schema
  check_process
  [[ $(main_process) == 0 ]] || answers || problem "the MLflow API does not answer on 127.0.0.1:$port"
}

migrate() {
  [[ $(database_schema) != "$(<"$release/schema")" ]] || return 0
  say "bringing the database's schema to that of MLflow $version"
  logged "migrating the database (mlflow db upgrade)" \
    runuser --user "$account" -- env PGPASSFILE="$password_file" TMPDIR="$temporary" "$release/bin/mlflow" db upgrade "$store_uri"
}

wait_until_it_answers() {
  local deadline=$((SECONDS + 180))
  until answers; do
    if ! systemctl is-active --quiet mlflow.service || ((SECONDS >= deadline)); then
      journalctl --unit mlflow.service --lines 15 --no-pager --output cat >&2
      fail "mlflow.service does not answer; above are its last lines ('journalctl -u mlflow' on the host shows more)"
    fi
    sleep 0.2 # between two tries; the answer is the condition
  done
}

apply() {
  make_account "$account"
  with_directories make_directory
  [[ -e /var/log/mlflow/server.log ]] || install -o "$account" -g adm -m 0640 /dev/null /var/log/mlflow/server.log
  migrate
  with_files write_file
  systemctl daemon-reload
  logged "enabling mlflow.service" systemctl enable mlflow.service
  if [[ -n $(check_process) ]] || ! answers; then
    say "starting the service"
    logged "starting mlflow.service" systemctl restart mlflow.service
    wait_until_it_answers
  fi
}

remove() {
  if [[ -e $unit_file ]]; then
    logged "stopping mlflow.service" systemctl disable --now mlflow.service
  fi
  rm -f "$unit_file" "$environment_file" "$rotation_file" "$restart_rule_file"
  # Directories that write_file made; needrestart's own hold more.
  rmdir --ignore-fail-on-non-empty "$(dirname "$restart_rule_file")" /etc/needrestart 2>/dev/null || true
  systemctl daemon-reload
  rm -rf "${temporary:?}"
  if [[ $delete_data == true ]]; then
    rm -rf "${artifacts:?}" /var/lib/mlflow /var/log/mlflow
    say "deleted the artifacts in $artifacts and the logs, as data.deleteOnDestroy says"
  else
    say "kept: artifacts in $artifacts"
  fi
}
