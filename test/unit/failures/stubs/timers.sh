# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# What systemd goes by: the last line that says it.
while IFS='=' read -r key value; do
  case $key in
    OnCalendar) calendar=$value ;;
    RandomizedDelaySec) delay=$value ;;
    Persistent) persistent=$value ;;
  esac
done <"$text"
case $property in
  TimersCalendar) echo "{ OnCalendar=$calendar ; next_elapse=Wed 2027-01-06 03:30:00 UTC }" ;;
  RandomizedDelayUSec) echo "$delay" ;;
  Persistent) if [ "$persistent" = true ]; then echo yes; else echo no; fi ;;
esac
