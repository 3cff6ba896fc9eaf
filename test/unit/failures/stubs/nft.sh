# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# One table of ours, as text, in this network (unshare makes another one).
table=${NETWORK:-$WORLD/.state/network}/table
case "$*" in
  '-f '*)
    [ "$2" = - ] || exec <"$2"
    rules=$(/bin/cat)
    case $rules in *'table inet mlflow_vps {'*'}') ;; *) echo 'Error: syntax error, unexpected end of file' >&2 && exit 1 ;; esac
    printf '%s\n' "table inet mlflow_vps {${rules##*table inet mlflow_vps \{}" >"$table"
    ;;
  'list table inet mlflow_vps') [ -e "$table" ] || { echo 'Error: No such file or directory' >&2 && exit 1; } && /bin/cat "$table" ;;
  'list tables'*) [ ! -e "$table" ] || echo 'table inet mlflow_vps' ;;
  'table inet mlflow_vps; delete table inet mlflow_vps' | 'delete table inet mlflow_vps') /bin/rm -f "$table" ;;
  'add table inet mlflow_vps;'*'ct state established accept') echo 'established only' >"$table" ;;
  *) echo "nft: the stub does not know: $*" >&2 && exit 64 ;;
esac
exit
