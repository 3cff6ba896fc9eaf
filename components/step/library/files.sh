# shellcheck shell=bash
# Files and directories, and who has them open.

# check_file PATH OWNER:GROUP MODE CONTENT: names what differs from a file that write_file would make.
check_file() {
  local path=$1 access=$2 mode=${3#0} content=$4 is is_owner is_mode is_content
  if [[ ! -f $path ]]; then
    problem "$path is missing"
    return
  fi
  is=$(stat -c '%U:%G %a' "$path")
  read -r is_owner is_mode <<<"$is"
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

# keeps_owners WORDS: whether a change of an owner or a mode, of which a program has said this, was refused by the file system
# as such.
keeps_owners() {
  case $1 in *'Operation not permitted'* | *'Permission denied'* | *'Operation not supported'*) echo yes ;; esac
}

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
