# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# db upgrade URI
. "$stubs/postgres.sh"
case $1$2 in dbupgrade) ;; *) echo "mlflow: the stub does not know: $*" >&2 && exit 64 ;; esac
database=${3%%\?*} database=${database##*/}
case $3 in
  *@127.0.0.1:*) user=${3#*://} user=${user%%@*} && log_in ;;
esac
[ -e "$pg/up" ] && [ -d "$pg/databases/$database" ] || { echo "OperationalError: no database $database" >&2 && exit 1; }
release=${0%/bin/mlflow}
read -r schema <"$release/schema"
/usr/bin/sed -i "s/^schema=.*/schema=$schema/" "$pg/databases/$database/data"
exit 0
