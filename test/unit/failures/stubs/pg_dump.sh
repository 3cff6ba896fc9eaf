# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
. "$stubs/postgres.sh"
for database; do :; done
[ -e "$pg/up" ] && [ -d "$pg/databases/$database" ] || { echo "pg_dump: error: no database $database" >&2 && exit 1; }
echo "dump of $database"
/bin/cat "$pg/databases/$database/data"
echo 'end of the dump'
exit 0
