# shellcheck shell=bash
# Releases and dumps that are kept.

# newest_last DIRECTORY FIND_ARGUMENT...
newest_last() { [[ ! -d $1 ]] || find "$@" -printf '%T@ %p\n' | sort --numeric-sort | cut -d ' ' -f 2-; }

# Keeps the release that serves and the newest other one, and each that an instance still runs; the dumps from before the
# last two upgrades. The dump from before an adoption stays: it is the only way back. So do those of another database.
prune() {
  local releases upgrades old used
  releases=$(newest_last "${release%/*}" -mindepth 1 -maxdepth 1 -type d ! -path "$release")
  upgrades=$(newest_last "$dumps" -name "$database-????????T??????Z-before-*.dump" ! -name '*-before-adoption.dump')
  used=$(cat "$state_directory"/mlflow-*.env)
  {
    head -n -1 <<<"$releases"
    head -n -2 <<<"$upgrades"
  } | while read -r old; do
    [[ $'\n'$used$'\n' != *"=$old"$'\n'* ]] || continue
    say "removing $old"
    rm -rf "$old"
  done
}
