# shellcheck shell=bash
# Cleaning up: layers of an older source, and what a killed vps.sh left.
set -euo pipefail

: "${sandbox_dir:?} ${layers_dir:?} ${name?} ${dir?}" # of vps.sh and layers.sh
readonly kept_layers=2 # of each kind and suite: two versions of the source at work do not take turns

# register_guest: while its folder is there, the layers that it stands on stay.
register_guest() {
  local number
  number=$(digest_of "$dir")
  mkdir -p "$layers_dir/guests"
  printf '%s' "$dir" >"$layers_dir/guests/$number"
}

# Every stack of layers that a guest or another layer has, one a line.
stacks_in_use() {
  local registered dir stack
  for registered in "$layers_dir"/guests/*; do
    [[ -e $registered ]] || continue
    dir=$(<"$registered")
    if [[ -e $dir/stack ]]; then
      cat "$dir/stack"
      echo
    elif [[ ! -d $dir ]]; then
      rm -f "$registered"
    fi
  done
  for stack in "$layers_dir"/*/stack; do
    [[ ! -e $stack ]] || cut -d : -f 2- "$stack" # what it stands on
  done
}

# Keeps the most recently used ones of each suite, kind and version, and every one that something stands on.
remove_stale_layers() {
  local used found paths path slot
  local -A count=()
  used=$(stacks_in_use)
  found=$(find "$layers_dir" -mindepth 1 -maxdepth 1 -type d -name '*-*' ! -name '*.new' -printf '%T@ %p\n')
  paths=$(sort -rn <<<"$found")
  while read -r _ path; do # the last used first
    slot=${path%-*}
    count[$slot]=$((${count[$slot]:-0} + 1))
    if ((count[$slot] > kept_layers)) && [[ -n $path && $used != *"$path/"* ]]; then
      say "removing the layer ${path##*/}, which is of an older source"
      remove_tree "$path"
      rm -f "$path.lock"
    fi
  done <<<"$paths"
}

# What a killed vps.sh left: the unfinished disk of a guest, a layer in the making. While somebody works there, the lock is held.
clean_up_after_killed() {
  local folder lock
  for folder in "$sandbox_dir"/*/disk; do
    folder=${folder%/disk}
    [[ -d $folder/disk && ! -e $folder/stack ]] || continue
    lock=$(lock_of_guest "$folder")
    discard_unless_locked "$lock" "$folder" "$folder"
  done
  for folder in "$layers_dir"/*.new; do
    [[ ! -d $folder ]] || discard_unless_locked "${folder%.new}.lock" "$folder/guest" "$folder"
  done
}

# discard_unless_locked LOCK FOLDER_OF_GUEST DIRECTORY
discard_unless_locked() {
  local dir=$2 name=${2##*/}
  exec 5>"$1"
  if flock -n 5; then
    discard_guest
    remove_tree "$3"
  fi
  exec 5>&-
}
