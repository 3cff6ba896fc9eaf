# shellcheck shell=bash
# The keys with which MLflow encrypts what users keep in it. The stack makes them; what the data of a host were encrypted
# with before, by an unmanaged server or by a stack that is gone, comes first, or none of it could be read any more.

readonly keys_file=/var/backups/mlflow-vps/keys # with the dumps, which are of no use without
readonly key_variables=(MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY MLFLOW_CRYPTO_KEK_PASSPHRASE MLFLOW_CRYPTO_KEK_VERSION)

# keys_in SETTINGS: those of these NAME=VALUE lines; the last one of a variable counts, as for systemd.
keys_in() {
  local variable
  for variable in "${key_variables[@]}"; do
    sed -n "s/^$variable=./&/p" <<<"$1" | tail -n 1
  done
}

# keep_keys SETTINGS: for whatever serves these data next.
keep_keys() {
  local keys
  keys=$(keys_in "$1")
  [[ -n $keys ]] || return 0
  install -d -m 0700 "${keys_file%/*}"
  write_file "$keys_file" root:root 0600 "$keys"
}
