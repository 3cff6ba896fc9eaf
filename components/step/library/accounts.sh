# shellcheck shell=bash
# System users and groups.

# has_entry DATABASE NAME: whether there is such a user (passwd) or group.
has_entry() {
  local code=0
  getent "$1" "$2" >/dev/null || code=$?
  case $code in
    0) echo yes ;;
    2) ;; # not there
    *) fail "getent $1 $2 exited $code" ;;
  esac
}

# The system user that the server runs as; it owns nothing but its data.
check_account() {
  local user group
  user=$(has_entry passwd "$1")
  group=$(has_entry group "$1")
  [[ -n $user ]] || problem "system user $1 is missing"
  [[ -n $group ]] || problem "group $1 is missing"
}
# The user may exist already, with another group.
make_account() {
  local user group
  user=$(has_entry passwd "$1")
  group=$(has_entry group "$1")
  [[ -n $group ]] || logged "creating the group $1" groupadd --system "$1"
  [[ -n $user ]] ||
    logged "creating the system user $1" useradd --system --gid "$1" --home-dir /var/lib/mlflow --no-create-home \
      --shell /usr/sbin/nologin "$1"
}
