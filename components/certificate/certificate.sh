# shellcheck shell=bash
# shellcheck disable=SC2154 # the values and the library stand before this text
# The file with private key and certificate chain that nginx serves with. With ACME its content comes from the
# certificate authority, by way of the step acme; until then a placeholder lets nginx start.

# check_placeholder: whatever is there is right, as long as nginx can serve the server's name with it.
check_placeholder() {
  if [[ ! -f $certificate_file ]]; then
    problem "$certificate_file is missing"
    return
  fi
  check_access "$certificate_file" root:root 0600
  openssl x509 -in "$certificate_file" -noout -checkhost "${names[0]}" 2>/dev/null | grep --quiet 'does match' ||
    problem "$certificate_file is not for ${names[0]}"
  openssl x509 -in "$certificate_file" -noout -checkend 0 >/dev/null 2>&1 || problem "the certificate in $certificate_file has ended"
  [[ $(openssl x509 -in "$certificate_file" -noout -pubkey 2>/dev/null) == "$(openssl pkey -in "$certificate_file" -pubout 2>/dev/null)" ]] ||
    problem "the key in $certificate_file does not belong to its certificate"
}

check_file_now() {
  if [[ -n $pem ]]; then
    check_file "$certificate_file" root:root 0600 "$pem"
  else
    check_placeholder
  fi
}

check() {
  local wrong
  wrong=$(check_file_now)
  if [[ -n $wrong ]]; then
    problem "$wrong"
    return
  fi
  openssl x509 -in "$certificate_file" -noout -checkend $((days_needed * 86400)) >/dev/null ||
    problem "the certificate in $certificate_file ends on $(openssl x509 -in "$certificate_file" -noout -enddate | cut -d = -f 2), in less than $days_needed days"
  ! systemctl is-active --quiet nginx.service || nginx_has_read "$certificate_file" || problem "nginx has not read $certificate_file as it is now"
}

placeholder() {
  local key
  key=$(openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256)
  printf '%s\n' "$key"
  openssl req -x509 -key /dev/stdin -days 90 -subj "/CN=${names[0]}" -addext "subjectAltName=DNS:${names[0]}" <<<"$key"
}

apply() {
  if [[ -n $pem ]]; then
    write_file "$certificate_file" root:root 0600 "$pem"
  elif [[ -n $(check_placeholder) ]]; then
    say "a placeholder serves until the certificate authority has given a certificate"
    write_file "$certificate_file" root:root 0600 "$(placeholder)"
  fi
  reload_nginx "$certificate_file"
}

remove() {
  rm -f "$certificate_file"
}
