# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# systemd: a unit that is active has the file 'pid'; 'read' is its file as systemd has read it.
. "$stubs/processes.sh"
etc=$WORLD/etc/systemd/system
where=$etc
verb='' names='' properties='' now='' quiet='' named=yes between=''
while [ $# -gt 0 ]; do
  case $1 in
    --now) now=yes ;;
    --property) properties=$2 && shift ;;
    --property=*) properties=${1#*=} ;;
    --quiet) quiet=yes ;;
    --runtime) where=$WORLD/run/systemd/system ;;
    --value) named='' ;;
    --plain | --force | --no-legend | --no-block | --no-pager | --all) ;;
    --type | --state) shift ;;
    -*) echo "systemctl: the stub does not know $1" >&2 && exit 64 ;;
    *)
      if [ -z "$verb" ]; then verb=$1; else
        case $1 in *.*) names="$names $1" ;; *) names="$names $1.service" ;; esac
      fi
      ;;
  esac
  shift
done

# file_of UNIT: sets file; of an instance its own, or else the template's.
file_of() {
  template=$1
  case $1 in *@?*.service) template=${1%%@*}@.service ;; esac
  for file in "$etc/$1" "$etc/$template" "$WORLD/usr/lib/systemd/system/$1" "$WORLD/usr/lib/systemd/system/$template"; do
    [ ! -e "$file" ] && [ ! -L "$file" ] || return 0
  done
  file=
}

active() { [ -e "$units/$1/pid" ]; }
linked() { [ -L "$etc/multi-user.target.wants/$1" ]; }
masked() { is_mask "$etc/$1" || is_mask "$WORLD/run/systemd/system/$1"; }
is_mask() { [ -L "$1" ] && [ ! -s "$1" ]; }

pid_of() {
  pid=0
  ! active "$1" || read -r pid <"$units/$1/pid"
}

state_of_file() {
  file_of "$1"
  if masked "$1"; then state=masked
  elif [ -z "$file" ]; then state=
  elif linked "$1"; then state=enabled
  elif installable; then state=disabled
  else state=static; fi
}

installable() {
  while read -r line; do
    [ "$line" != '[Install]' ] || return 0
  done <"$file"
  return 1
}

# text_of UNIT: its file and what is dropped in beside it; other names than *.conf are not read.
text_of() {
  set -- "$file" "$etc/$1.d"/*.conf
  [ -e "$2" ] || set -- "$1"
  /bin/cat "$@"
}

# read_unit UNIT: as systemd does at its first use, and at a daemon-reload. A copy of the distribution's is not needed.
read_unit() {
  [ -d "$units/$1" ] || /bin/mkdir -p "$units/$1"
  file_of "$1"
  case $file in
    "$WORLD"/usr/*) [ -d "$etc/$1.d" ] || { [ ! -e "$units/$1/read" ] || /bin/rm "$units/$1/read"; return 0; } ;;
  esac
  text_of "$1" >"$units/$1/read"
}

as_on_disk() {
  file_of "$1"
  [ -n "$file" ] && [ -e "$units/$1/read" ] || return 0
  text_of "$1" | /usr/bin/cmp -s - "$units/$1/read"
}

# text_in_force UNIT: sets text, the file that says what systemd goes by.
text_in_force() {
  file_of "$1"
  text=$units/$1/read
  [ -e "$text" ] || text=$file
}

start() {
  file_of "$1"
  if masked "$1"; then echo "Failed to start $1: Unit $1 is masked." >&2 && exit 1; fi
  if [ -z "$file" ]; then echo "Failed to start $1: Unit $1 not found." >&2 && exit 5; fi
  ! active "$1" || return 0
  [ -d "$units/$1" ] || read_unit "$1"
  unit=$1
  . "$stubs/units.sh"
  start_unit
  echo "$pid" >"$units/$1/pid"
}

stop() {
  active "$1" || return 0
  pid_of "$1"
  unit=$1
  . "$stubs/units.sh"
  stop_unit
  /bin/rm -f "$units/$1/pid"
}

reload() {
  active "$1" || { echo "$1 is not active, cannot reload." >&2 && exit 1; }
  unit=$1
  . "$stubs/units.sh"
  reload_unit
}

enable_unit() {
  ! linked "$1" || return 0
  file_of "$1"
  [ -n "$file" ] || { echo "Failed to enable unit: Unit file $1 does not exist." >&2 && exit 1; }
  [ -d "$etc/multi-user.target.wants" ] || /bin/mkdir -p "$etc/multi-user.target.wants"
 /bin/ln -sfn "$file" "$etc/multi-user.target.wants/$1"
}

show() {
  pid_of "$1"
  IFS=,
  # shellcheck disable=SC2086 # split into words
  set -- "$1" $properties
  unset IFS
  unit=$1
  shift
  for property; do
    set -- "$unit"
    [ -z "$named" ] || printf '%s=' "$property"
    case $property in
      ActiveState) if active "$1"; then echo active; else echo inactive; fi ;;
      SubState) if active "$1"; then echo running; else echo dead; fi ;;
      UnitFileState) state_of_file "$1" && echo "$state" ;;
      LoadState) file_of "$1"; if masked "$1"; then echo masked; elif [ -n "$file" ]; then echo loaded; else echo not-found; fi ;;
      NeedDaemonReload) if as_on_disk "$1"; then echo no; else echo yes; fi ;;
      Id) echo "$1" ;;
      MainPID) echo "$pid" ;;
      InvocationID) echo "invocation-of-$1" ;;
      ControlGroup) if [ "$pid" = 0 ]; then echo; else echo "/system.slice/$1"; fi ;;
      *)
        text_in_force "$1"
        . "$stubs/units.sh"
        show_property
        ;;
    esac || exit
  done
}

case $verb in
  is-active) for unit in $names; do active "$unit" || exit 3; done ;;
  is-enabled)
    state_of_file "${names# }"
    [ -n "$quiet" ] || echo "${state:-not-found}"
    case $state in enabled | static) ;; *) exit 1 ;; esac
    ;;
  show)
    for unit in $names; do
      [ -z "$between" ] || echo
      between=yes
      show "$unit"
    done
    ;;
  start) for unit in $names; do start "$unit"; done ;;
  stop) for unit in $names; do stop "$unit"; done ;;
  restart) for unit in $names; do stop "$unit"; done; for unit in $names; do start "$unit"; done ;;
  reload) for unit in $names; do reload "$unit"; done ;;
  enable) for unit in $names; do enable_unit "$unit"; done; [ -z "$now" ] || for unit in $names; do start "$unit"; done ;;
  disable)
    for unit in $names; do /bin/rm -f "$etc/multi-user.target.wants/$unit"; done
    [ -z "$now" ] || for unit in $names; do stop "$unit"; done
    ;;
  unmask) for unit in $names; do ! is_mask "$where/$unit" || /bin/rm "$where/$unit"; done ;;
  mask) for unit in $names; do /bin/ln -sfn /dev/null "$where/$unit"; done ;;
  reset-failed) for unit in $names; do [ -e "$units/$unit/failed" ] || { echo "Failed to reset failed state of unit $unit: Unit $unit not loaded." >&2 && exit 1; }; /bin/rm "$units/$unit/failed"; done ;;
  daemon-reload)
    for unit in "$units"/*; do
      unit=${unit##*/}
      file_of "$unit"
      if [ -n "$file" ] || active "$unit"; then read_unit "$unit"; else /bin/rm -r "${units:?}/$unit"; fi
    done
    ;;
  list-units) for unit in "$units"/${names# }; do [ ! -e "$unit/pid" ] || echo "${unit##*/} loaded active running"; done ;;
  *) echo "systemctl: the stub does not know $verb" >&2 && exit 64 ;;
esac
exit 0
