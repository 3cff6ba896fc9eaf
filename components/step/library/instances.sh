# shellcheck shell=bash
# Instances of the server. Each has files of its own (unit, environment, launcher), so that a change leaves the one that
# serves, and its next start, as they are. What goes into them, the step's values say (see ../instance.ts).

readonly unit_directory=/etc/systemd/system
readonly boot_directory=$unit_directory/multi-user.target.wants

# What must be there beside the artifacts, for looking and for making: with_directories COMMAND [ARGUMENT...]
with_directories() {
  "$@" /var/lib/mlflow "$account:$account" 0750
  "$@" "$temporary" "$account:$account" 0700
  "$@" /var/log/mlflow "$account:adm" 0750
}

# What was noted down of the artifacts where they cannot be given to anybody.
readonly artifacts_note=$state_directory/artifacts

check_artifacts() {
  local wrong noted
  wrong=$(check_directory "$artifacts" "$account:$account" 0750)
  noted=$(noted_artifacts)
  [[ -n $wrong || -z $noted ]] || wrong="$artifacts is the host's own directory, where another file system was mounted ($noted)"
  [[ $wrong == "$noted" ]] || problem "$wrong"
}

noted_artifacts() {
  local noted
  noted=$(content_of "$artifacts_note")
  [[ $noted != "$artifacts "* ]] || printf '%s\n' "$noted" # of another directory, it is of no use any more
}

# Some file systems keep no owners, or refuse to change them (CIFS, sshfs, FAT, NFS). There the artifacts stay as they are
# mounted, where the service can write to them. Owner and mode are noted down, so that a change is still seen.
make_artifacts() {
  local said code=0 kept wrong noted status
  noted=$(noted_artifacts)
  mkdir -p "$artifacts"
  said=$(install -d -o "$account" -g "$account" -m 0750 "$artifacts" 2>&1) || code=$?
  kept=$(keeps_owners "$said")
  wrong=$(check_directory "$artifacts" "$account:$account" 0750)
  [[ $code == 0 || -n $kept ]] || fail "cannot make $artifacts: $said"
  if [[ -z $wrong ]]; then
    [[ -z $noted ]] ||
      fail "$artifacts is the host's own directory, where another file system was mounted ($noted): mount it again, or where it is given up 'rm $artifacts_note', then run again"
    return
  fi
  # shellcheck disable=SC2016 # for the other shell
  attempt as_user "$account" sh -c 'touch "$1" && rm "$1"' sh "$artifacts/.mlflow-vps"
  ((status == 0)) ||
    fail "the service cannot write to $artifacts, and its file system does not let it be given to the user $account (${said:-it keeps the owner}): mount it for that user (CIFS, FAT: uid=$account,gid=$account; sshfs: allow_other,uid=…,gid=…), then run again"
  say "$artifacts stays as it is mounted ($wrong): the service can write there"
  write_file "$artifacts_note" root:root 0644 "$wrong"
}

make_directories() {
  with_directories make_directory
  make_artifacts
  [[ -e /var/log/mlflow/server.log ]] || install -o "$account" -g adm -m 0640 /dev/null /var/log/mlflow/server.log
}

# environment_of PORT. Workers and job runner: the last size whose memory the host has, unless the settings say otherwise.
environment_of() {
  local memory row chosen_workers chosen_jobs requests connections overflow
  memory=$(memory_mb)
  for row in "${sizes[@]}"; do
    read -r -a row <<<"$row"
    ((memory >= row[0])) || break
    chosen_workers=${row[1]} chosen_jobs=${row[2]}
  done
  chosen_workers=${workers/#auto/$chosen_workers}
  read -r requests connections overflow <<<"${shares[chosen_workers - 1]}"
  printf '%s\n' "$managed" "$environment"
  content_of "$keys_file" # of two lines for a variable, systemd takes the later one
  printf 'MLFLOW_PORT=%s\n' "$1"
  printf 'MLFLOW_WORKERS=%s\n' "$chosen_workers"
  printf 'MLFLOW_SERVER_ENABLE_JOB_EXECUTION=%s\n' "${jobs/#auto/$chosen_jobs}"
  printf 'MLFLOW_SQLALCHEMYSTORE_POOL_SIZE=%s\n' "$connections"
  printf 'MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW=%s\n' "$overflow"
  printf 'MLFLOW_VPS_REQUESTS=%s\n' "$requests"
  # MLflow 2, by gunicorn: without threads a worker does nothing else while an upload lasts, and is killed after 30 s.
  # It must keep idle connections for longer than nginx does.
  printf 'GUNICORN_CMD_ARGS=--threads=%s --keep-alive=10\n' "$requests"
}

# with_files_of INSTANCE PORT check_file|write_file
with_files_of() {
  local text
  text=$(environment_of "$2")
  "$3" "$unit_directory/mlflow@$1.service" root:root 0644 "$unit"
  "$3" "$state_directory/mlflow-$1.py" root:root 0644 "$launcher"
  "$3" "$state_directory/mlflow-$1.env" "root:$account" 0640 "$text"
}

# Those that are named by their port.
running_instances() {
  systemctl list-units --plain --no-legend 'mlflow@*.service' | sed -n 's/^mlflow@\([0-9]*\)\.service .*/\1/p'
}

# answers PORT: whether the API does there.
answers() {
  local code=0
  curl --silent --noproxy '*' --fail --max-time 10 --output /dev/null --header 'Content-Type: application/json' \
    --data '{"max_results": 1}' "http://$address:$1/api/2.0/mlflow/experiments/search" || code=$?
  ((code < 126)) || fail "curl cannot be run"
  ((code != 0)) || echo yes
}

# start_instance INSTANCE PORT [COMMAND...]: starts it, and waits until it answers there. Before each look, runs this command.
start_instance() {
  local name=mlflow@$1.service
  with_files_of "$1" "$2" write_file
  systemctl daemon-reload
  # What answers must be what is started here.
  logged "stopping any earlier $name" systemctl stop "$name"
  logged "starting $name" systemctl start "$name"
  await_answer "$@"
}

await_answer() {
  local name=mlflow@$1.service deadline=$((SECONDS + 180)) answer active invocation
  while true; do
    "${@:3}"
    answer=$(answers "$2")
    [[ -z $answer ]] || return 0
    active=$(is_active "$name")
    if [[ -z $active ]] || ((SECONDS >= deadline)); then
      invocation=$(unit_property "$name" InvocationID)
      journalctl "_SYSTEMD_INVOCATION_ID=$invocation" --lines 15 --no-pager --output cat >&2
      stop_instance "$1"
      fail "MLflow $version does not answer on $address:$2; above are its last lines ('journalctl -u $name' on the host shows more)"
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
