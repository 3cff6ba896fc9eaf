# shellcheck shell=bash
# A step's run: one at a time, by one stack.

# The lock is held by this process and the processes it started, and is released when they end.
lock() {
  local file=$run_directory/$step.lock others
  [[ $privileged == true ]] || return 0 # it changes nothing
  [[ -d $run_directory ]] || install -d -m 0755 "$run_directory"
  exec 9<>"$file"
  if ! flock --nonblock 9; then
    others=$(holders "$file")
    say "another run of this step is in progress on the host, waiting for it: ${others:-it has just ended}"
    if ! flock --timeout 600 9; then
      others=$(holders "$file")
      fail "another run of this step is still in progress after 10 minutes: ${others:-it has just ended}. This run has changed nothing; 'tail -f $log_file' on the host shows what the other does; run again when it has ended"
    fi
  fi
  printf '%s\n' "$$" >"$file"
}

# The stack that owns this host: another one would undo what this one does. Nothing on a bare host.
check_owner() {
  local recorded
  recorded=$(content_of "$owner_file")
  [[ -z $recorded || $recorded == "$stack" ]] ||
    problem "this host belongs to the stack $recorded, and this is $stack; destroy that one first, or where it is gone or was renamed, on the host: echo '$stack' | sudo tee $owner_file"
}

require_own_host() {
  local other
  other=$(check_owner)
  [[ -z $other ]] || fail "$other. Nothing was changed"
}

# Steps run in parallel.
lock_owner() {
  exec 8>"$run_directory/owner.lock"
  flock 8
}

claim_host() {
  local recorded
  [[ $privileged == true ]] || return 0
  recorded=$(content_of "$owner_file")
  [[ $recorded != "$stack" ]] || return 0
  lock_owner
  require_own_host
  write_file "$owner_file" root:root 0644 "$stack"
  exec 8>&-
}

# Once only the owner file is left, all steps have been removed.
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
      require_own_host
      remove
      release_host
      ;;
    *) fail "unknown action $1" ;;
  esac
}
