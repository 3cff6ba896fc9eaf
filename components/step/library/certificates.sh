# shellcheck shell=bash
# Certificates, as openssl reads them.

# holds x509|pkey FILE: whether openssl finds a certificate, or a private key, in the file.
holds() {
  local complaint code=0
  complaint=$(openssl "$1" -in "$2" -noout 2>&1) || code=$?
  case $code:$complaint in
    0:*) echo yes ;;
    1:*"from $2"*) ;; # 'Could not read certificate from …'
    *) fail "openssl $1 exited $code: $complaint" ;;
  esac
}

# is_for HOST FILE: whether the certificate in the file is for this host.
is_for() {
  local answer code=0
  answer=$(openssl x509 -in "$2" -noout -checkhost "$1" 2>&1) || code=$? # newer ones fail where the answer is no
  case $answer in
    *'does match certificate'*) echo yes ;;
    *'does NOT match certificate'*) ;;
    *) fail "openssl x509 -checkhost exited $code: $answer" ;;
  esac
}

# date_of startdate|enddate FILE: of the certificate in the file, in seconds.
date_of() {
  local line
  line=$(openssl x509 -in "$2" -noout "-$1")
  [[ $line == not*=?* ]] || fail "openssl shows no $1 of $2"
  date --date "${line#*=}" +%s
}
