# shellcheck shell=bash
# What is known of the server that is adopted, and when it is refused.

# read_server UNIT: sets what is known of the server: old_database, old_port, old_artifacts (their directory, as its settings
# name it; nothing where they are elsewhere) and old_root (as runs name it). Fails where its data cannot be adopted.
read_server() {
  local settings uri registry
  settings=$(settings_of "$1")
  old_database=$(database_of "$1")
  if [[ -z $old_database ]]; then
    uri=$(setting "$settings" backend-store-uri MLFLOW_BACKEND_STORE_URI)
    # The rest of the URI may be a secret.
    refuse "$1" "its data is not in PostgreSQL on port $database_port of this host (its store URI begins with '${uri%%:*}:')"
  fi
  old_port=$(setting "$settings" port MLFLOW_PORT)
  old_port=${old_port:-5000}
  [[ $old_port =~ ^[1-9][0-9]*$ ]] || refuse "$1" "its port '$old_port' is not a number"
  read_artifact_root "$1" "$settings"
  registry=$(setting "$settings" registry-store-uri MLFLOW_REGISTRY_STORE_URI)
  [[ -z $registry ]] || refuse "$1" "its model registry has a store of its own"
  old_artifacts=$(directory_of_artifacts "$1" "$old_root")
}

# read_artifact_root UNIT SETTINGS: sets old_root. Artifacts by name of their directory, for clients that write there
# themselves; or else by way of the server.
read_artifact_root() {
  local root destination
  root=$(setting "$2" default-artifact-root MLFLOW_DEFAULT_ARTIFACT_ROOT)
  destination=$(setting "$2" artifacts-destination MLFLOW_ARTIFACTS_DESTINATION)
  if [[ $root == mlflow-artifacts:* || -z $root ]]; then
    [[ $destination != *:* || $destination == file:* ]] || refuse "$1" "it serves artifacts that are in ${destination%%:*}, not on this host"
    root=$destination
  fi
  # shellcheck disable=SC2016 # what a shell would expand
  [[ $root != *['$`']* && $root != '~'* ]] || refuse "$1" "only its shell knows where its artifacts in '$root' are: write the directory itself there"
  old_root=${root:-./mlartifacts}
}

# directory_of_artifacts UNIT ROOT: nothing when they are elsewhere: clients go on to find them there.
directory_of_artifacts() {
  local root=${2#file:} directory
  root=${root/#\/\/\///}
  case $root in
    *:*) ;;
    /*) printf '%s' "${root%/}" ;;
    *)
      directory=$(directory_of "$1")
      [[ $directory == /* ]] || refuse "$1" "it is not running, so it cannot be told where its artifacts in '$2' are: 'systemctl start $1'"
      realpath --canonicalize-missing --no-symlinks "$directory/$root"
      ;;
  esac
}

# directory_of UNIT: where it works; its command may have gone there by itself.
directory_of() {
  local pid directory
  pid=$(unit_property "$1" MainPID)
  if ((pid > 0)); then
    readlink "/proc/$pid/cwd"
  else
    directory=$(unit_property "$1" WorkingDirectory)
    directory=${directory#!} # need not be there
    printf '%s\n' "${directory:-/}"
  fi
}

refuse() {
  fail "$1 runs an unmanaged MLflow server that cannot be adopted: $2. Nothing was changed. To set up an empty server and leave that one's data where it is: 'systemctl disable --now $1' on the host, then run again"
}
