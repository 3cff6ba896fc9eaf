# shellcheck shell=bash
# The state of systemd's units.

# What 'remember_units' was told: 'UNIT NAME' to the value.
declare -A properties=()

# unit_property UNIT NAME: a property of a unit, such as ActiveState or UnitFileState.
unit_property() {
  if [[ -n ${properties["$1 $2"]+remembered} ]]; then
    printf '%s\n' "${properties["$1 $2"]}"
  else
    systemctl show --property "$2" --value "$1"
  fi
}

# remember_units NAME,... UNIT...: asks systemd once for these properties of all these units, for a check, during which
# they count as they are now.
remember_units() {
  local text name value asked=("${@:2}")
  text=$(systemctl show --property "$1" "${asked[@]}")
  while IFS='=' read -r name value; do
    if [[ -n $name ]]; then
      properties["${asked[0]} $name"]=$value
    else # those of the next one follow
      asked=("${asked[@]:1}")
    fi
  done <<<"$text"
}

# is_active UNIT
is_active() {
  local state
  state=$(unit_property "$1" ActiveState)
  case $state in active | reloading | refreshing) echo yes ;; esac
}

# starts_at_boot UNIT: or by the timer or unit that it belongs to.
starts_at_boot() {
  local state
  state=$(unit_property "$1" UnitFileState)
  case $state in enabled | static | alias | indirect) echo yes ;; esac
}
