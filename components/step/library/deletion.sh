# shellcheck shell=bash
# Deleting a directory, but nothing that is mounted in it; and what is old.

# delete_directory PATH: with everything in it. What is mounted further down stays as it is, and so does the target of a
# symbolic link; a volume that is mounted at the path itself is emptied.
delete_directory() {
  local path mount
  local -a left=() mounts
  if [[ -L $1 ]]; then
    path=$(readlink "$1")
    rm "$1"
    say "$1 was a symbolic link and is deleted; its target $path stays"
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
  # The deepest first; those on the way to a mount stay.
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

# newest_last DIRECTORY FIND_ARGUMENT...
newest_last() { [[ ! -d $1 ]] || find "$@" -printf '%T@ %p\n' | sort --numeric-sort | cut -d ' ' -f 2-; }
