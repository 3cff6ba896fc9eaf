# shellcheck shell=bash
# The tracking server: instances of one unit, each on a port of its own. One serves; a changed one starts beside it, is
# proven, takes nginx over, and the one before is drained and stopped.

readonly rotation_file=/etc/logrotate.d/mlflow
# Also where needrestart is not installed: it may be later.
readonly restart_rule_file=/etc/needrestart/conf.d/mlflow-vps.conf

# with_files check_file|write_file
with_files() {
  "$1" "$rotation_file" root:root 0644 "$log_rotation"
  "$1" "$restart_rule_file" root:root 0644 "$restart_rule"
}

check() {
  local serving reload
  local -A properties=()
  serving=$(serving_instance)
  [[ -z $serving ]] || remember_units ActiveState,MainPID,ControlGroup,NeedDaemonReload "mlflow@$serving.service" nginx.service
  check_account "$account"
  with_directories check_directory
  check_artifacts
  with_files check_file
  check_earlier_versions
  check_instance "$serving"
  if [[ -n $serving ]]; then
    reload=$(unit_property "mlflow@$serving.service" NeedDaemonReload)
    [[ $reload == no ]] || problem "systemd has not loaded the service's current unit"
    check_promotion "$serving"
  fi
}

# keep_earlier_keys INSTANCE: of a stack whose state was lost, the one that took its place makes other keys. Those of the
# instance that serves stay in use.
keep_earlier_keys() {
  local kept settings line ours earlier=''
  kept=$(content_of "$keys_file")
  [[ -n $1 && -z $kept ]] || return 0
  settings=$(content_of "$state_directory/mlflow-$1.env")
  settings=$(keys_in "$settings")
  ours=$(keys_in "$environment")
  while read -r line; do
    [[ -z $line || $'\n'$ours$'\n' == *$'\n'"$line"$'\n'* ]] || earlier+=$line$'\n'
  done <<<"$settings"
  [[ -n $earlier ]] || return 0
  say "the keys that encrypt what users keep stay those of before"
  keep_keys "$earlier"
}

apply() {
  local serving spare left wrong
  make_account "$account"
  make_directories
  with_files write_file
  stop_earlier_unit
  serving=$(serving_instance)
  spare=$(spare_of "$serving")
  wrong=$(check_instance "$serving")
  if [[ -n $wrong ]]; then
    keep_earlier_keys "$serving"
    vacate "$spare"
    require_free_port "$spare"
    say "starting MLflow $version on port $spare"
    start_instance "$spare" "$spare" signal_job_runner "$spare" STOP
    serving=$spare
  else
    systemctl daemon-reload
  fi
  promote "$serving"
  tell_unreadable_webhooks "$serving"
  left=$(template_is_left)
  if [[ -n $left ]]; then
    rm -f "$template_file"
    systemctl daemon-reload
  fi
  prune_releases
}

remove() {
  local instances instance ours directory settings
  instance=$(serving_instance)
  settings=$(content_of "$state_directory/mlflow-$instance.env")
  [[ $delete_data == true ]] || keep_keys "$settings"
  instances=$(our_instances)
  for instance in $instances; do stop_instance "$instance"; done
  ours=$(is_ours "$template_file")
  [[ -z $ours ]] || rm -f "$template_file"
  rm -f "$upstream_file" "$rotation_file" "$restart_rule_file" "$artifacts_note"
  # Directories that write_file made; needrestart's own hold more.
  for directory in "${restart_rule_file%/*}" /etc/needrestart; do
    [[ ! -d $directory ]] || rmdir --ignore-fail-on-non-empty "$directory"
  done
  systemctl daemon-reload
  delete_directory "$temporary"
  if [[ $delete_data == true ]]; then
    for directory in "$artifacts" /var/lib/mlflow /var/log/mlflow; do delete_directory "$directory"; done
    say "deleted the artifacts in $artifacts and the logs, as data.deleteOnDestroy says"
  else
    say "kept: artifacts in $artifacts"
  fi
}
