# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
. "$stubs/postgres.sh"
for database; do :; done
dump=$(/bin/cat)
case $dump in 'dump of '*'end of the dump') ;; *) echo 'pg_restore: error: input file is too short' >&2 && exit 1 ;; esac
[ -d "$pg/databases/$database" ] || { echo "pg_restore: error: no database $database" >&2 && exit 1; }
printf '%s\n' "$dump" | /usr/bin/sed '1d;$d' >"$pg/databases/$database/data"
exit 0
