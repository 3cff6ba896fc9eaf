# shellcheck shell=bash
# Which instances are ours, and which one serves. They are named by their port.

readonly template_file=$unit_directory/mlflow@.service # of the version before: one unit for all instances

# spare_of INSTANCE: the other one of the two ports.
spare_of() { if [[ $1 == "$port" ]]; then echo $((port + 1)); else echo "$port"; fi; }

# upstream_to INSTANCE. The other one is named too: a worker of nginx from before a reload may read a request until the
# instance that it knows is gone, and then finds the one that has followed.
upstream_to() {
  local spare
  spare=$(spare_of "$1")
  printf '%s\n' "$managed" "server $address:$1 max_fails=0;" "server $address:$spare max_fails=0 backup;"
}

# is_ours FILE: whether it is there, and this program wrote it.
is_ours() {
  local -a first
  [[ -e $1 ]] || return 0
  mapfile -t -n 1 first <"$1"
  [[ ${first[0]:-} != "$managed" ]] || echo yes
}

# Those of ours that run, start at boot or have left files. A unit of that name that somebody else made is not ours.
our_instances() {
  local running file instance ours
  local -a all=()
  running=$(running_instances)
  for instance in $running; do all[instance]=; done
  for file in "$boot_directory"/mlflow@*.service "$unit_directory"/mlflow@*.service "$state_directory"/mlflow-*.{env,py}; do
    [[ ! $file =~ [@-]([0-9]+)\.(service|env|py)$ ]] || all[BASH_REMATCH[1]]=
  done
  for instance in "${!all[@]}"; do
    file=$unit_directory/mlflow@$instance.service
    [[ -e $file ]] || file=$template_file
    ours=$(is_ours "$file")
    [[ -z $ours && -e $file && ! -e $state_directory/mlflow-$instance.env ]] || echo "$instance"
  done
}

# other_instances INSTANCE: ours beside this one.
other_instances() {
  local ours instance
  ours=$(our_instances)
  for instance in $ours; do
    [[ $instance == "$1" ]] || echo "$instance"
  done
}

# The one that nginx sends to, as the file says; where that one does not run and another does, the other, first one that
# starts at boot. Nothing on a bare host.
serving_instance() {
  local running text line written='' instance
  running=$(running_instances)
  text=$(content_of "$upstream_file")
  while read -r line; do
    [[ ! $line =~ ^server\ [^:]*:([0-9]+).*\;$ || $line == *backup* ]] || written=${BASH_REMATCH[1]}
  done <<<"$text"
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
