# shellcheck shell=bash
# Draining an instance, and freeing a port for one.

readonly header_seconds=15 # which nginx gives a client for the header of a request (see the site)
readonly drain_seconds=600

# drain_instance INSTANCE SECONDS: lets it finish what it has begun, large uploads and jobs too, before it is stopped. No
# request is cut: with one that takes longer than 'drain_seconds' it is left running, without jobs: the next instance
# starts those over. So long at most, the workers of nginx from before a reload are waited for as well: they may send it
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
      end_drain "$1" "$open" "$unfinished"
      return
    fi
    if [[ -z $told ]] && ((SECONDS - begun >= 5)); then
      say "draining $name: $open open requests, $unfinished jobs, at most $((drain_seconds / 60)) minutes"
      told=yes
    fi
    sleep 0.2 # between two looks; no open connection is the condition
  done
}

# end_drain INSTANCE OPEN UNFINISHED: jobs have had their time; requests may take longer.
end_drain() {
  local name=mlflow@$1.service minutes=$((drain_seconds / 60))
  (($3 == 0)) || say "jobs of $name ($3) are not finished after $minutes minutes: they start over, those submitted during this change at the next start"
  signal_job_runner "$1" KILL # what it started ends with it
  if (($2 == 0)); then
    stop_instance "$1"
  else
    say "$name still answers requests ($2 open) after $minutes minutes: it is left running until a 'pulumi up --refresh' finds them answered"
  fi
}

# was_left_running INSTANCE: whether it still answers requests from before it was drained, as it may.
was_left_running() {
  local open runner
  [[ ! -L $boot_directory/mlflow@$1.service ]] || return 0
  # Its drain was interrupted, if it still runs jobs.
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
    fail "$name, which served before the last change, still answers requests ($open open), and its port is needed. The service was not changed. Run this again when they are answered, or end them: 'sudo systemctl stop $name' on the host"
}

# require_free_port PORT: once ours have left it.
require_free_port() {
  local taken
  taken=$(listener_inode "$1")
  [[ -z $taken ]] ||
    fail "port $1 is taken by another program ('ss -ltnp' on the host shows it): stop that, or set service.port to a free port whose next one is free too"
}
