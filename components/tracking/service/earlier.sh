# shellcheck shell=bash
# What earlier versions of this program have left.

readonly earlier_unit_file=/etc/systemd/system/mlflow.service # of versions before the template

stop_earlier_unit() {
  local ours
  ours=$(is_ours "$earlier_unit_file")
  [[ -n $ours ]] || return 0
  say "stopping mlflow.service of an earlier version of this program; the new one starts in its place"
  logged "stopping mlflow.service" systemctl disable --now mlflow.service
  rm -f "$earlier_unit_file" "$state_directory/mlflow.env"
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
