# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# Requests to the API: of one instance, or by way of nginx, which knows the upstream as it has read it.
credentials='' answer=
for url; do :; done
address=${url#http*://} address=${address%%/*}

# serves PORT
serves() { for process in "$WORLD"/proc/[0-9]*/fd/"$1"; do [ -L "$process" ] && [ -d "${process%/*}" ] && return 0; done; return 1; }

case $* in
  *--connect-to*)
    IFS= read -r credentials || true
    if [ ! -e "$WORLD/.state/units/nginx.service/pid" ]; then
      printf 000 && exit 7
    elif [ -z "$credentials" ]; then
      answer=401
    else
      user=${credentials#user = \"} user=${user%%:*}
      answer=401
      ! /usr/bin/grep -q "^$user:{SSHA}" "$WORLD/etc/mlflow-vps/htpasswd" || answer=502
      if [ "$answer" = 502 ]; then
        while read -r word server _; do
          server=${server%;}
          [ "$word" != server ] || ! serves "${server#*:}" || answer=200
        done <"$WORLD/.state/nginx-upstream"
      fi
    fi
    printf %s "$answer"
    ;;
  *) serves "${address#*:}" || exit 7 ;;
esac
exit 0
