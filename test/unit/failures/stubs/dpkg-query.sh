# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# --show --showformat=FORMAT PACKAGE...
code=0
shift
format=${1#--showformat=}
shift
for package; do
  if [ -e "$WORLD/.state/packages/$package" ]; then
    case $format in
      *Conffiles*) read -r sum <"$WORLD/.state/default.md5" && echo " $WORLD/etc/nginx/sites-available/default $sum" ;;
      *Package*' '*Status-Status*) echo "$package installed" ;;
      *) echo "dpkg-query: the stub does not know $format" >&2 && exit 64 ;;
    esac
  else
    echo "dpkg-query: no packages found matching $package" >&2
    code=1
  fi
done
exit $code
