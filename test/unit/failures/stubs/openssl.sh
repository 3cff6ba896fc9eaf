# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# Keys and certificates are lines of text: 'PRIVATE KEY of K', 'CERTIFICATE of K for HOST', with 'expired' or 'ends soon'
# where it is so. What is hashed is hashed for real.
all="$*" subject=''
while [ $# -gt 0 ]; do
  case $1 in
    -in | -key) file=$2 && shift ;;
    -checkhost) host=$2 && shift ;;
    -checkend) seconds=$2 && shift ;;
    -subj) subject=${2#/CN=} && shift ;;
  esac
  shift
done
certificate() {
  line=$(/usr/bin/grep -m 1 '^CERTIFICATE' "$file") || { echo "Could not read certificate from $file" >&2 && exit 1; }
}
case $all in
  'x509 '*-checkhost*)
    certificate
    case $line in
      *" for $host"*) echo "Hostname $host does match certificate" ;;
      *) echo "Hostname $host does NOT match certificate" ;;
    esac
    ;;
  'x509 '*-checkend*)
    certificate
    case "$line $seconds" in *expired*) exit 1 ;; *'ends soon '[1-9]*) exit 1 ;; esac
    ;;
  'x509 '*-startdate*) certificate && echo 'notBefore=Jan  1 00:00:00 2020 GMT' ;;
  'x509 '*-enddate*)
    certificate
    case $line in
      *expired* | *'ends soon'*) echo 'notAfter=Jan  2 00:00:00 2021 GMT' ;;
      *) echo 'notAfter=Jan  1 00:00:00 2099 GMT' ;;
    esac
    ;;
  'x509 '*-pubkey*) certificate && line=${line#CERTIFICATE of } && echo "PUBLIC KEY of ${line%% *}" ;;
  'pkey '*-pubout*) /usr/bin/grep -q '^PRIVATE KEY of ' "$file" || exit 1 && /usr/bin/sed -n 's/^PRIVATE KEY/PUBLIC KEY/p' "$file" ;;
  "x509 -in $file -noout") certificate ;;
  "pkey -in $file -noout") /usr/bin/grep -q '^PRIVATE KEY of ' "$file" || { echo "Could not read key from $file" >&2 && exit 1; } ;;
  'genpkey '*) echo 'PRIVATE KEY of placeholder' ;;
  'req -x509 '*) read -r line <"$file" && echo "CERTIFICATE of ${line#PRIVATE KEY of } for $subject" ;;
  'rand -hex 8') echo 0123456789abcdef ;;
  'dgst '*) exec /usr/bin/openssl dgst -sha1 -binary ;;
  *) echo "openssl: the stub does not know: $all" >&2 && exit 64 ;;
esac
exit
