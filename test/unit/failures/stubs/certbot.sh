# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# certonly: a new certificate of the name, beside the ones before.
[ "$1" = certonly ] || { echo "certbot: the stub does not know: $*" >&2 && exit 64; }
while [ $# -gt 0 ]; do
  case $1 in
    --server) server=$2 ;;
    --cert-name) lineage=$2 ;;
    --webroot-path) webroot=$2 ;;
    --domain) domain=$2 ;;
  esac
  shift
done
directory=$WORLD/etc/letsencrypt
[ -d "$webroot" ] || { echo "certbot: $webroot does not exist" >&2 && exit 1; }
number=1
while [ -e "$directory/archive/$lineage/cert$number.pem" ]; do number=$((number + 1)); done
/bin/mkdir -p "$directory/archive/$lineage" "$directory/live/$lineage" "$directory/renewal"
for part in cert chain fullchain privkey; do
  echo "CERTIFICATE of acme for $domain" >"$directory/archive/$lineage/$part$number.pem"
  [ "$part" != privkey ] || echo 'PRIVATE KEY of acme' >"$directory/archive/$lineage/$part$number.pem"
  /bin/ln -sfn "$directory/archive/$lineage/$part$number.pem" "$directory/live/$lineage/$part.pem"
done
/bin/cat >"$directory/renewal/$lineage.conf" <<EOF
fullchain = $directory/live/$lineage/fullchain.pem
server = $server
authenticator = webroot
$domain = $webroot
EOF
exit 0
