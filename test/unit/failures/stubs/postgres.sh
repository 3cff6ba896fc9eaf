# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# The cluster: what it holds, and what it has read of its configuration.
pg=$WORLD/.state/pg
config=$WORLD/etc/postgresql/15/main

load_settings() {
  /bin/cp "$config/pg_hba.conf" "$pg/access"
  read -r loads <"$pg/loads"
  echo $((loads + 1)) >"$pg/loads"
}

# Only a restart changes whom it listens to.
load_all_settings() {
  load_settings
  if [ -e "$config/conf.d/mlflow-vps.conf" ]; then echo localhost; else /usr/bin/sed -n "s/^listen_addresses = '\(.*\)'/\1/p" "$config/postgresql.conf"; fi >"$pg/listen_addresses"
}

# The password in the file must be the role's, and the rules must let it in.
log_in() {
  known=$(/usr/bin/sed -n 's/^password=.*\$//p' "$pg/roles/$user" 2>/dev/null)
  IFS=: read -r _ _ for_database for_user password <"${PGPASSFILE:-/dev/null}"
  [ "$for_user $for_database" = "$user $database" ] && [ -n "$known" ] && [ "$password" = "$known" ] ||
    { echo "psql: error: FATAL: password authentication failed for user \"$user\"" >&2 && exit 2; }
  /usr/bin/grep -q "^host  *[a-z_,]*${database}[a-z_,]* .*scram-sha-256" "$pg/access" ||
    { echo "psql: error: FATAL: no pg_hba.conf entry for user \"$user\"" >&2 && exit 2; }
}
