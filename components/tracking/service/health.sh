# shellcheck shell=bash
# Whether an instance serves as it should.

# processes_of UNIT: those in its control group.
processes_of() {
  local group root
  group=$(unit_property "$1" ControlGroup)
  [[ -n $group ]] || return 0 # it has ended
  # One hierarchy for everything; or, with version 1 of control groups, systemd's own beside others.
  for root in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    if [[ -e $root$group/cgroup.procs ]]; then
      cat "$root$group/cgroup.procs"
      return
    fi
  done
  fail "the control group of $1, $group, is not below /sys/fs/cgroup"
}

# maps_of PROCESS: the files that it holds in memory; nothing when it has ended.
maps_of() {
  local maps code=0
  maps=$(cat "/proc/$1/maps" 2>&1) || code=$?
  if ((code == 0)); then
    echo "$maps"
  elif [[ -e /proc/$1/exe ]]; then # which one that ends loses first
    fail "$maps"
  fi
}

# Names of the libraries and programs of the system that an instance's processes hold in memory and that are not on disk
# any more.
replaced_files() {
  local processes process maps
  processes=$(processes_of "mlflow@$1.service")
  for process in $processes; do
    maps=$(maps_of "$process")
    [[ $maps == *' (deleted)'* ]] || continue
    sed -n 's|^[^/]* /usr/.*/\([^/]*\) (deleted)$|\1|p' <<<"$maps"
  done | sort -u
}

# check_reach UNIT PROCESS DIRECTORY: the service may write to the directories that were there when it started: one that
# was made since is read-only for it. Over NFS the host's root may be less than the service's user.
check_reach() {
  local path=/proc/$2/root$3 status
  [[ ! -w $path ]] || return 0
  attempt as_user "$account" test -w "$path"
  ((status == 0)) || problem "$1 cannot write to $3"
}

# check_instance INSTANCE: why another has to take its place; nothing when it serves as it should.
check_instance() {
  local process command outdated replaced answer name=mlflow@$1.service
  if [[ -z $1 ]]; then
    problem "the service is not running"
    return
  fi
  [[ $1 == "$port" || $1 == $((port + 1)) ]] || problem "$name serves on neither port $port nor the next one"
  with_files_of "$1" "$1" check_file
  process=$(unit_property "$name" MainPID)
  if [[ $process == 0 ]]; then
    problem "$name is not running"
    return
  fi
  command=$(command_line_of "$process")
  [[ $command == "$release/bin/python "* ]] || problem "$name runs another release than $release"
  outdated=$(older_than "$process" "$unit_directory/$name" "$state_directory/mlflow-$1".{env,py})
  [[ -z $outdated ]] || problem "$name was started before its unit, environment file or launcher was last changed"
  outdated=$(older_than "$process" "$release/.contents")
  [[ -z $outdated ]] || problem "$name was started before its release was last repaired"
  replaced=$(replaced_files "$1")
  [[ -z $replaced ]] || problem "$name runs with libraries that an update has replaced since (${replaced//$'\n'/, })"
  with_directories check_reach "$name" "$process"
  check_reach "$name" "$process" "$artifacts"
  answer=$(answers "$1")
  [[ -n $answer ]] || problem "the MLflow API does not answer on $address:$1"
}
