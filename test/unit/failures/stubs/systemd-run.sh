# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# A trial of a unit's properties; or a timer of its own for the command.
case "$*" in *--service-type=oneshot*) exit 0 ;; esac
while [ $# -gt 0 ]; do
  case $1 in --unit) name=$2 ;; esac
  shift
done
for suffix in timer service; do
  /bin/mkdir -p "$WORLD/.state/units/$name.$suffix"
  [ $suffix = service ] || echo 1000 >"$WORLD/.state/units/$name.$suffix/pid"
done
exit 0
