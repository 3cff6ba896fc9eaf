# shellcheck shell=bash
# What webhooks sign with. MLflow keeps it encrypted, and no webhook can be read any more while one of them was encrypted
# with another key: that of an earlier process, where no key was set, or of an adopted server.

# webhook_secrets: 'ENCRYPTED|ID|NAME' of each webhook that has one. Older versions of MLflow have no webhooks.
webhook_secrets() {
  local known
  known=$(has_rows "$database" "select 1 where to_regclass('public.webhooks') is not null")
  [[ -z $known ]] ||
    sql "$database" <<<'select secret, webhook_id, name from public.webhooks where secret is not null and deleted_timestamp is null order by name'
}

# unreadable_webhooks INSTANCE: 'ID NAME' of each webhook that its key does not open.
unreadable_webhooks() {
  local stored environment_here key
  stored=$(webhook_secrets)
  [[ -n $stored ]] || return 0
  environment_here=$(<"$state_directory/mlflow-$1.env")
  key=$(sed -n 's/^MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY=//p' <<<"$environment_here" | tail -n 1)
  "$release/bin/python" -c '
import sys
from cryptography.fernet import Fernet, InvalidToken
key, *webhooks = sys.stdin.read().splitlines()
for secret, identity, name in (line.split("|", 2) for line in webhooks):
    try:
        Fernet(key).decrypt(secret.encode())
    except InvalidToken:
        print(identity, name)' <<<"$key"$'\n'"$stored"
}

# tell_unreadable_webhooks INSTANCE
tell_unreadable_webhooks() {
  local webhooks identity name names='' list=''
  webhooks=$(unreadable_webhooks "$1")
  [[ -n $webhooks ]] || return 0
  while read -r identity name; do
    names+=${names:+, }$name
    list+="${list:+, }'$identity'"
  done <<<"$webhooks"
  say "WARNING: the secrets of these webhooks were encrypted with a key that is gone, and MLflow lists no webhooks until they are taken away: $names. On the host: sudo -u postgres psql -p $database_port -d $database -c \"update webhooks set secret = null where webhook_id in ($list)\". Then give each a secret again: MlflowClient().update_webhook(ID, secret=…)"
}
