# shellcheck shell=bash
# Running commands: with a log, until they succeed, or not at all.

# check_programs PROGRAM...: reports programs that a check needs and that are missing; the packages step reinstalls them.
check_programs() {
  local program
  for program; do
    command -v "$program" >/dev/null || problem "$program is not installed"
  done
}

# logged ACTION COMMAND...: runs a command with its long output in the step's log; a failure shows the last lines.
logged() {
  local action=$1 status now
  shift
  install -d -m 0750 "$log_directory"
  now=$(date --iso-8601=seconds)
  printf '\n== %s %s\n' "$now" "$action" >>"$log_file"
  attempt "$@" >>"$log_file" 2>&1
  ((status == 0)) || fail_with_log "$action"
}

# Ends the run: what failed, and what the command said in the log.
fail_with_log() {
  printf '%s: FAILED: %s. Last lines of %s on the host:\n' "$step" "$1" "$log_file" >&2
  tail -n 15 "$log_file" | cut -c -400 >&2
  exit 1
}

# wait_until SECONDS FAILURE QUESTION...: repeats the question until the answer is yes; fails with this text when time is up.
wait_until() {
  local deadline=$((SECONDS + $1)) failure=$2 answer
  shift 2
  while true; do
    answer=$("$@")
    [[ -z $answer ]] || return 0
    ((SECONDS < deadline)) || fail "$failure"
    sleep 0.2 # between two looks; the answer is the condition
  done
}
