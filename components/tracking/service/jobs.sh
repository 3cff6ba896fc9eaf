# shellcheck shell=bash
# Jobs. MLflow's job runner starts all unfinished jobs over ten seconds after its start, whoever works on them. So the one of
# a new instance is suspended until the instance before has finished its jobs: each runs once.

# is_suspended PROCESS: by SIGSTOP.
is_suspended() {
  local -a fields
  read_stat "$1"
  [[ ${fields[0]:-} != T ]] || echo yes
}

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
