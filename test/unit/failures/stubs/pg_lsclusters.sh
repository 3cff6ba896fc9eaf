# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
state=down
[ ! -e "$WORLD/.state/pg/up" ] || state=online
echo "15 main 5433 $state postgres $WORLD/var/lib/postgresql/15/main $WORLD/var/log/postgresql/postgresql-15-main.log"
exit 0
