# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# -t: whether all that the configuration names is there; -T: what it is, too; -v.
case "$*" in
  -v) echo 'nginx version: nginx/1.22.1' >&2 && exit 0 ;;
esac
for site in "$WORLD"/etc/nginx/sites-enabled/*; do
  [ -e "$site" ] || continue
  ! /usr/bin/grep -q 'syntax error' "$site" || { echo "nginx: [emerg] unknown directive in $site" >&2 && exit 1; }
  /usr/bin/sed -n 's/^ *\(ssl_certificate\|include\|auth_basic_user_file\) \(.*\);/\2/p' "$site" | while read -r file; do
    [ -e "$file" ] || { echo "nginx: [emerg] cannot load $file" >&2 && exit 1; }
  done || exit 1
done
case ${1:-} in
  -T) for site in "$WORLD"/etc/nginx/sites-enabled/*; do echo "# configuration file $site:" && /bin/cat "$site"; done ;;
esac
