# shellcheck shell=bash
# Running a command as another user.

# as_root COMMAND...: in a step that runs without privileges, whose login may use sudo.
as_root() {
  if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi
}

# as_user USER COMMAND...: as this system user, without a login.
as_user() {
  local group
  group=$(id --group "$1")
  setpriv --reuid "$1" --regid "$group" --init-groups -- "${@:2}"
}
