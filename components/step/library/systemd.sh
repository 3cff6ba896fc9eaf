# shellcheck shell=bash
# The state of systemd's units.

# unit_property UNIT NAME: a property of a unit, such as ActiveState or UnitFileState.
unit_property() { systemctl show --property "$2" --value "$1"; }

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
