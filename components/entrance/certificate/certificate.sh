# shellcheck shell=bash
# The file with private key and certificate chain that nginx serves with. With ACME its content comes from the
# certificate authority, by way of the step acme; until then a placeholder lets nginx start.

# check_placeholder: any certificate will do, as long as nginx can serve the server's name with it.
check_placeholder() {
  local certificate key right end now certificate_key
  if [[ ! -f $certificate_file ]]; then
    problem "$certificate_file is missing"
    return
  fi
  check_access "$certificate_file" root:root 0600
  certificate=$(holds x509 "$certificate_file")
  if [[ -z $certificate ]]; then
    problem "$certificate_file holds no certificate"
    return
  fi
  right=$(is_for "${names[0]}" "$certificate_file")
  [[ -n $right ]] || problem "$certificate_file is not for ${names[0]}"
  end=$(date_of enddate "$certificate_file")
  printf -v now '%(%s)T' -1
  ((end > now)) || problem "the certificate in $certificate_file has expired"
  key=$(holds pkey "$certificate_file")
  if [[ -n $key ]]; then
    key=$(openssl pkey -in "$certificate_file" -pubout)
    certificate_key=$(openssl x509 -in "$certificate_file" -noout -pubkey)
    [[ $key == "$certificate_key" ]] || key=
  fi
  [[ -n $key ]] || problem "the key in $certificate_file does not match its certificate"
}

check_file_now() {
  if [[ -n $pem ]]; then
    check_file "$certificate_file" root:root 0600 "$pem"
  else
    check_placeholder
  fi
}

check() {
  local wrong end now in_use
  local -A properties=()
  wrong=$(check_programs openssl)
  [[ -n $wrong ]] || wrong=$(check_file_now)
  if [[ -n $wrong ]]; then
    problem "$wrong"
    return
  fi
  end=$(date_of enddate "$certificate_file")
  printf -v now '%(%s)T' -1
  if ((end - now < days_needed * 86400)); then
    end=$(date --utc --date "@$end" '+%b %e %T %Y GMT')
    problem "the certificate in $certificate_file expires on $end, in less than $days_needed days"
  fi
  remember_units ActiveState,MainPID nginx.service
  in_use=$(nginx_is_current "$certificate_file")
  [[ -n $in_use ]] || problem "nginx has not loaded the current $certificate_file"
}

placeholder() {
  local key certificate
  key=$(openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256)
  certificate=$(openssl req -x509 -key /dev/stdin -days 90 -subj "/CN=${names[0]}" -addext "subjectAltName=DNS:${names[0]}" <<<"$key")
  printf '%s\n' "$key" "$certificate"
}

apply() {
  local wrong content=$pem
  if [[ -z $content ]]; then
    wrong=$(check_placeholder)
    if [[ -n $wrong ]]; then
      say "a placeholder is served until the certificate authority has issued a certificate"
      content=$(placeholder)
    fi
  fi
  [[ -z $content ]] || write_file "$certificate_file" root:root 0600 "$content"
  reload_nginx "$certificate_file"
}

remove() {
  rm -f "$certificate_file" "$certificate_file".* # the others were left by what was killed, and hold a key too
}
