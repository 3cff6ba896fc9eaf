# shellcheck shell=bash
# --- files and directories -----------------------------------------------------------------------------------------

# check_file PATH OWNER:GROUP MODE CONTENT: names what differs from a file that write_file would make.
check_file() {
  local path=$1 access=$2 mode=${3#0} content=$4 is_owner is_mode is_content
  if [[ ! -f $path ]]; then
    problem "$path is missing"
    return
  fi
  is_owner=$(stat -c %U:%G "$path")
  is_mode=$(stat -c %a "$path")
  is_content=$(<"$path")
  [[ $is_owner == "$access" ]] || problem "$path belongs to $is_owner, not to $access"
  [[ $is_mode == "$mode" ]] || problem "$path has mode $is_mode, not $mode"
  [[ $is_content == "$content" ]] || problem "$path was changed"
}

# write_file PATH OWNER:GROUP MODE CONTENT: puts the file in place whole, or not at all; leaves a right one alone.
write_file() {
  local path=$1 access=$2 mode=$3 content=$4 wrong partial status changed now
  wrong=$(check_file "$@")
  if [[ -z $wrong ]]; then
    # After a clock was set back, what is from the future would always look newer than the process that reads it.
    changed=$(stat -c %Y "$path")
    now=$(date +%s)
    ((changed <= now)) || touch "$path"
    return
  fi
  mkdir -p "$(dirname "$path")"
  rm -f "$path".mlflow-vps.?????? # of a run that was killed
  partial=$(mktemp "$path.mlflow-vps.XXXXXX")
  attempt fill_file "$partial" "$path" "$access" "$mode" "$content"
  if ((status != 0)); then
    rm -f "$partial"
    fail "cannot write $path"
  fi
}

# Owner and mode before the content, the content before the name.
fill_file() {
  chown "$3" "$1"
  chmod "$4" "$1"
  printf '%s\n' "$5" >"$1"
  mv -f "$1" "$2"
}

# check_access PATH OWNER:GROUP MODE: names another owner or mode of something that is there.
check_access() {
  local is
  is=$(stat -c '%U:%G %a' "$1")
  [[ $is == "$2 ${3#0}" ]] || problem "$1 is $is, not $2 ${3#0}"
}

# check_directory PATH OWNER:GROUP MODE: names what differs from a directory that make_directory would make.
check_directory() {
  if [[ -d $1 ]]; then check_access "$@"; else problem "$1 is missing"; fi
}
make_directory() {
  mkdir -p "$(dirname "$1")"
  install -d -o "${2%:*}" -g "${2#*:}" -m "$3" "$1"
}

# delete_directory PATH: with all that is in it. What is mounted further down stays as it is, and so does what a symbolic
# link leads to; a volume that is mounted at the path itself is emptied.
delete_directory() {
  local path mount
  local -a left=() mounts
  if [[ -L $1 ]]; then
    path=$(readlink "$1")
    rm "$1"
    say "$1 was a symbolic link and is deleted; $path, where it led to, stays"
    return
  fi
  [[ -d $1 ]] || return 0
  path=$(realpath "$1")
  mounts_below "$path"
  for mount in "${mounts[@]}"; do
    say "$mount is mounted there, and stays as it is"
    left+=(-path "${mount//[][\\*]/?}" -prune -o) # what find takes for a wildcard stands for any character
  done
  find "$path" -mindepth 1 "${left[@]}" ! -type d -exec rm -f -- {} +
  # The deepest first; those that lead to a mount stay.
  find "$path" -mindepth 1 "${left[@]}" -type d -print0 | sort --zero-terminated --reverse |
    xargs --null --no-run-if-empty rmdir --ignore-fail-on-non-empty --
  if mountpoint --quiet "$path"; then
    say "$path is a mount point: it was emptied, and stays"
  else
    rmdir --ignore-fail-on-non-empty "$path"
  fi
}

# mounts_below DIRECTORY: puts into 'mounts' what is mounted in it, also a directory of the same file system (bind).
mounts_below() {
  local point
  mounts=()
  while read -r _ _ _ _ point _; do
    printf -v point %b "$point" # a blank is \040 there
    [[ $point != "$1"/* ]] || mounts+=("$point")
  done </proc/self/mountinfo
}

# check_room DIRECTORY MEGABYTES: names a lack of free disk where the directory is or will be.
check_room() {
  local kilobytes
  kilobytes=$(free_kilobytes "$1")
  ((kilobytes / 1024 >= $2)) || problem "$1 has $((kilobytes / 1024)) MB free, the server needs $2 MB; make room or take a larger disk"
}

# free_kilobytes DIRECTORY: on the file system where it is or will be. Only root may look everywhere: who may not enter a
# directory would take it for one that is not there, and measure another disk.
free_kilobytes() {
  local table
  # shellcheck disable=SC2016 # for the other shell
  table=$(as_root sh -c 'existing=$1
    until [ -d "$existing" ]; do existing=$(dirname "$existing"); done
    df --output=avail -k "$existing"' sh "$1")
  table=${table##*$'\n'}
  [[ $table =~ ^\ *[0-9]+$ ]] || fail "df did not say how much is free in $1, but: $table"
  echo "$((table))"
}

# --- accounts ------------------------------------------------------------------------------------------------------

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
# Somebody may have made the user, with another group.
make_account() {
  local user group
  user=$(has_entry passwd "$1")
  group=$(has_entry group "$1")
  [[ -n $group ]] || logged "making the group $1" groupadd --system "$1"
  [[ -n $user ]] ||
    logged "making the system user $1" useradd --system --gid "$1" --home-dir /var/lib/mlflow --no-create-home \
      --shell /usr/sbin/nologin "$1"
}
