# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# What a server does at its start: a new database gets its tables, one of another schema is refused.
. "$stubs/postgres.sh"
database=$(/usr/bin/sed -n 's|^MLFLOW_BACKEND_STORE_URI=.*/||p' "$environment" | /usr/bin/tail -n 1)
data=$pg/databases/$database/data
[ -e "$pg/up" ] && [ -e "$data" ] || { end_process "$pid" && echo 'no database' >&2 && exit 1; }
read -r schema <"$release/schema"
if ! /usr/bin/grep -q ^schema= "$data"; then
  echo "schema=$schema" >>"$data"
elif ! /usr/bin/grep -q "^schema=$schema\$" "$data"; then
  end_process "$pid" && echo 'out-of-date database schema' >&2 && exit 1
fi
