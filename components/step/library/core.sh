# shellcheck shell=bash
# The conventions of every script, so that a failure is never taken for an answer (bash switches errexit off inside a
# function that is called in a condition, and ignores a substitution that fails in an argument):
#   - A question prints 'yes', or nothing, and fails when it cannot tell. It is asked by an assignment of its own:
#     x=$(is_there), then [[ -n $x ]].
#   - What may fail without ending the run is run by 'attempt', which leaves its exit code in $status.
#   - What a run must undo however it ends is passed to 'at_exit'.

set -Eeuo pipefail
shopt -s inherit_errexit
# The command's text as it stands in the script: variables, and so secrets, are not expanded in it. What 'attempt' runs may
# fail.
trap '[[ ${FUNCNAME[0]:-} == attempt ]] || printf "%s: FAILED in %s at: %s\n" "$step" "${FUNCNAME[0]:-main}" "$BASH_COMMAND" >&2' ERR
umask 022
# The distribution's programs before those that somebody has put into /usr/local: they are of the versions that we know.
export LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
# Statements go to this host's PostgreSQL, whatever the login's environment says.
unset "${!PG@}"

readonly state_directory=/etc/mlflow-vps
readonly run_directory=/run/mlflow-vps
readonly owner_file=$state_directory/owner # the stack that this host belongs to
readonly log_directory=/var/log/mlflow-vps
readonly log_file=$log_directory/$step.log

# A line of progress, for whoever runs 'pulumi up'.
say() { printf '%s: %s\n' "$step" "$*"; }

# A line of 'check': something is not as it should be.
problem() { printf '%s\n' "$*"; }

# Ends the run: what failed, and what to do.
fail() {
  printf '%s: FAILED: %s\n' "$step" "$*" >&2
  exit 1
}

# attempt COMMAND...: runs it in a process of its own, up to the first command in it that fails; $status is its exit code.
attempt() {
  set +e
  (
    set -e
    "$@"
  )
  status=$?
  set -e
}

declare -a exit_commands=()
declare exit_commands_of=

# at_exit COMMAND...: runs it when this process ends, for whatever reason; the last one first. A subshell has its own.
at_exit() {
  local command
  if [[ $exit_commands_of != "$BASHPID" ]]; then
    exit_commands=()
    exit_commands_of=$BASHPID
    trap run_exit_commands EXIT
    # With these traps, bash waits for the running command; without, it would clean up while that still runs.
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
  fi
  printf -v command '%q ' "$@"
  exit_commands+=("$command")
}

# Runs the last command of 'at_exit' now, and not at the end.
exit_command_now() {
  local command=${exit_commands[-1]}
  unset 'exit_commands[-1]'
  eval "$command"
}

run_exit_commands() {
  local code=$? status
  trap - EXIT
  # Neither a signal nor a lost connection interrupts the cleanup.
  trap : HUP INT PIPE TERM
  set +e
  while ((${#exit_commands[@]} > 0)); do
    attempt eval "${exit_commands[-1]}"
    set +e
    if ((status != 0)); then
      printf '%s: FAILED: cleaning up: %s\n' "$step" "${exit_commands[-1]}" >&2
      code=1
    fi
    unset 'exit_commands[-1]'
  done
  exit "$code"
}

# found GREP_ARGUMENT...: grep, which fails only when it could not search; no match is no output.
found() { grep "$@" || (($? == 1)); }

# content_of FILE: its content; nothing when it does not exist. A file that must exist is read by $(<FILE).
content_of() { [[ ! -e $1 ]] || cat "$1"; }
