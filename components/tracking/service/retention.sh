# shellcheck shell=bash
# Releases that are kept.

# Keeps the release that serves and the newest other one, and each that an instance still runs.
prune_releases() {
  local releases used old
  releases=$(newest_last "${release%/*}" -mindepth 1 -maxdepth 1 -type d ! -path "$release")
  used=$(cat "$state_directory"/mlflow-*.env)
  head -n -1 <<<"$releases" | while read -r old; do
    [[ $'\n'$used$'\n' != *"=$old"$'\n'* ]] || continue
    say "removing $old"
    rm -rf "$old"
  done
}
