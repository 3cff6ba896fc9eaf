# shellcheck shell=bash
# Lets the runs in which a call fails share all that comes before it. One run goes through the script without a failure; at
# the statements of its main shell in which calls are to fail, it continues for each of them in a copy of itself and of
# the world, and then goes on from where it was. The test says by BRANCH_AT at which statements; without, they are noted
# among the calls.

enable -f "$BRANCH_BUILTIN" branch
statement=0
pipes_at_start=
for descriptor in /proc/self/fd/*; do
  [[ ! -p $descriptor ]] || pipes_at_start+=" $descriptor "
done
unset descriptor

# Whether a copy of this shell would share no input, output or process with it.
stands_alone() {
  local descriptor
  [[ /dev/fd/0 -ef /dev/null && /dev/fd/1 -ef $OUTPUT.stdout && /dev/fd/2 -ef $OUTPUT.stderr ]] || return 1
  for descriptor in /proc/self/fd/*; do
    [[ ! -p $descriptor || $pipes_at_start == *" $descriptor "* ]] || return 1
  done
  [[ -z ${!:-} ]] || ! kill -0 "$!" 2>/dev/null
}

begin_statement() {
  statement=$((statement + 1))
  if [[ -z $BRANCH_AT ]]; then
    if stands_alone; then printf '# %d\0' "$statement" >>"$WORLD/.calls"; fi
  elif [[ " $BRANCH_AT " == *" $statement "* ]]; then
    if stands_alone; then branch_for_each_failure; fi
  fi
}

# Tells the test how the last branch ended, and is told which call fails in the next one.
branch_for_each_failure() {
  local shell=$BASHPID seconds=$SECONDS before=$WORLD.before code='' failure
  /bin/mv "$WORLD" "$before"
  while
    printf '%s\0' "$statement $code" >&3
    IFS= read -r -d '' failure <&3
    [[ -n $failure ]]
  do
    /bin/rm -rf "$WORLD"
    /bin/cp -a "$before" "$WORLD"
    code=0
    branch || code=$?
    if [[ $BASHPID != "$shell" ]]; then
      be_branch "$shell" "${failure%% *}" "${failure#* }"
      SECONDS=$seconds # it is as if no other branch had been
      return
    fi
  done
  /bin/rm -rf "$WORLD"
  /bin/mv "$before" "$WORLD"
  SECONDS=$seconds
}

# be_branch SHELL WHEN CALL: what the script has asked the shell to do at its end is for the branch too.
be_branch() {
  trap - DEBUG
  exec 3>&-
  export WHEN=$2 FAILING=$3
  # shellcheck disable=SC2154 # the library's
  [[ ${exit_commands_of-} != "$1" ]] || exit_commands_of=$BASHPID
}

set -o functrace
trap '((BASH_SUBSHELL > 0)) || begin_statement' DEBUG
