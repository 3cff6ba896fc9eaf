# Managed by mlflow-vps: sent to the host for one run, never stored there.
# shellcheck shell=bash
# Every step script starts with this library. A step defines check, apply and remove; main calls them.
#
# Three forms keep a failure from passing for an answer (bash switches errexit off inside a function that is called in a
# condition, and ignores a substitution that fails in an argument):
#   - A question prints 'yes', or nothing, and fails when it cannot tell. It is asked by an assignment of its own:
#     x=$(is_there), then [[ -n $x ]].
#   - What may fail without ending the run is run by 'attempt', which leaves its exit code in $status.
#   - What a run must undo however it ends is given to 'at_exit'.

set -Eeuo pipefail
shopt -s inherit_errexit
# The command's text as it stands in the script: variables, and so secrets, are not expanded in it. What 'attempt' runs may
# fail.
trap '[[ ${FUNCNAME[0]:-} == attempt ]] || printf "%s: FAILED in %s at: %s\n" "$step" "${FUNCNAME[0]:-main}" "$BASH_COMMAND" >&2' ERR
umask 022
export LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
# Statements are for this host's PostgreSQL, whatever the login's environment names.
unset "${!PG@}"

readonly state_directory=/etc/mlflow-vps
readonly run_directory=/run/mlflow-vps
readonly owner_file=$state_directory/owner # the stack that this host belongs to
readonly log_directory=/var/log/mlflow-vps
readonly log_file=$log_directory/$step.log

# A line of progress, for the person in front of 'pulumi up'.
say() { printf '%s: %s\n' "$step" "$*"; }

# A line of 'check': something is not as it should be.
problem() { printf '%s\n' "$*"; }

# Ends the run: what failed, and what to do.
fail() {
  printf '%s: FAILED: %s\n' "$step" "$*" >&2
  exit 1
}

# --- running commands ----------------------------------------------------------------------------------------------

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

# wait_until SECONDS FAILURE QUESTION...: asks again until the answer is yes; fails with this text when it is not in time.
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

declare -a exit_commands=()
declare exit_commands_of=

# at_exit COMMAND...: runs it when this process ends, whichever way; the last one first. A subshell has commands of its own.
at_exit() {
  local command
  if [[ $exit_commands_of != "$BASHPID" ]]; then
    exit_commands=()
    exit_commands_of=$BASHPID
    trap run_exit_commands EXIT
    # With these, bash lets the command end that is in progress; without, it would clean up beside it.
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
  # Neither a signal nor a connection that is gone ends the cleaning.
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

# --- reading -------------------------------------------------------------------------------------------------------

# found GREP_ARGUMENT...: grep, which fails only when it could not look; what is not there is no output.
found() { grep "$@" || (($? == 1)); }

# content_of FILE: what it holds; nothing when it is not there.
content_of() { [[ ! -e $1 ]] || cat "$1"; }

# check_programs PROGRAM...: names what a check cannot look without; the step of the packages brings it back.
check_programs() {
  local program
  for program; do
    command -v "$program" >/dev/null || problem "$program is not installed"
  done
}

# as_root COMMAND...: for a step without privileges, whose login may use sudo.
as_root() {
  if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi
}

# as_user USER COMMAND...: as this system user, without a login.
as_user() {
  local group
  group=$(id --group "$1")
  setpriv --reuid "$1" --regid "$group" --init-groups -- "${@:2}"
}

# unit_property UNIT NAME: what systemd says of a unit, such as ActiveState or UnitFileState.
unit_property() { systemctl show --property "$2" --value "$1"; }

# is_active UNIT
is_active() {
  local state
  state=$(unit_property "$1" ActiveState)
  case $state in active | reloading | refreshing) echo yes ;; esac
}

# starts_at_boot UNIT: or by the timer or unit that it belongs to.
starts_at_boot() {
  local state
  state=$(unit_property "$1" UnitFileState)
  case $state in enabled | static | alias | indirect) echo yes ;; esac
}

# Memory of the host in MB.
memory_mb() {
  local kilobytes
  kilobytes=$(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo)
  echo $((kilobytes / 1024))
}

# --- one run at a time, by one stack -------------------------------------------------------------------------------

# holders FILE: the processes that have it open, but for this one: 'process ID (COMMAND), ...'.
holders() {
  local descriptor holder command all=
  local -A seen=(["$$"]=yes ["$BASHPID"]=yes)
  for descriptor in /proc/[0-9]*/fd/*; do
    [[ $descriptor -ef $1 ]] || continue
    holder=${descriptor#/proc/}
    holder=${holder%%/*}
    [[ -z ${seen[$holder]:-} ]] || continue
    seen[$holder]=yes
    command=$(cat "/proc/$holder/comm" 2>/dev/null || true) # it may have ended
    [[ -z $command ]] || all+="${all:+, }process $holder ($command)"
  done
  echo "$all"
}

# One run of a step at a time: the lock is held by this process and what it started, and gone with them.
lock() {
  local file=$run_directory/$step.lock others
  [[ $privileged == true ]] || return 0 # it changes nothing
  install -d -m 0755 "$run_directory"
  exec 9<>"$file"
  if ! flock --nonblock 9; then
    others=$(holders "$file")
    say "another run of this step is in progress on the host, waiting for it: ${others:-it has just ended}"
    if ! flock --timeout 600 9; then
      others=$(holders "$file")
      fail "another run of this step is still in progress after 10 minutes: ${others:-it has just ended}. This one has changed nothing; 'tail -f $log_file' on the host shows what the other does; run again when it has ended"
    fi
  fi
  printf '%s\n' "$$" >"$file"
}

# Whose host this is: another stack would undo what this one does. Nothing on a bare host.
check_owner() {
  local recorded
  recorded=$(content_of "$owner_file")
  [[ -z $recorded || $recorded == "$stack" ]] ||
    problem "this host belongs to the stack $recorded, and this is $stack; destroy that one first, or where it is gone or was renamed, on the host: echo '$stack' | sudo tee $owner_file"
}

demand_own_host() {
  local other
  other=$(check_owner)
  [[ -z $other ]] || fail "$other. Nothing was changed"
}

# Steps run beside each other.
lock_owner() {
  exec 8>"$run_directory/owner.lock"
  flock 8
}

claim_host() {
  [[ $privileged == true ]] || return 0
  lock_owner
  demand_own_host
  write_file "$owner_file" root:root 0644 "$stack"
  exec 8>&-
}

# Once nothing but the owner's name is left, all steps are gone.
release_host() {
  local left
  [[ $privileged == true ]] || return 0
  lock_owner
  if [[ -d $state_directory ]]; then
    rm -f "$state_directory"/*.mlflow-vps.?????? # of write_file, in a run that was killed
    left=$(ls -A "$state_directory")
    if [[ -z $left || $left == "${owner_file##*/}" ]]; then
      rm -f "$owner_file"
      rmdir "$state_directory"
    fi
  fi
  exec 8>&-
}

main() {
  local left
  case $1 in
    check) check ;;
    apply)
      lock
      claim_host
      left=$(check)
      [[ -n $left ]] || return 0
      apply
      left=$(check)
      [[ -z $left ]] || fail "apply finished, problems remain:"$'\n'"$left"
      say "done"
      ;;
    remove)
      lock
      demand_own_host
      remove
      release_host
      ;;
    *) fail "unknown action $1" ;;
  esac
}
