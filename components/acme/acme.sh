# shellcheck shell=bash
# shellcheck disable=SC2154 # the values and the library stand before this text
# A certificate of a public authority, got and renewed by certbot.

readonly lineage=mlflow-vps
readonly live=/etc/letsencrypt/live/$lineage
readonly renewal_file=/etc/letsencrypt/renewal/$lineage.conf
readonly hook_file=$state_directory/acme-hook

renewal_setting() { sed -n "s/^$1 = //p" "$renewal_file" 2>/dev/null || true; }

# What makes certbot get a certificate anew, though there is one.
check_lineage() {
  if [[ ! -f $live/fullchain.pem ]]; then
    problem "there is no certificate of $directory for $domain yet"
    return
  fi
  [[ $(renewal_setting server) == "$directory" ]] || problem "the certificate was given by $(renewal_setting server), not by $directory"
  openssl x509 -in "$live/cert.pem" -noout -checkhost "$domain" | grep --quiet 'does match' ||
    problem "the certificate is not for $domain"
  openssl x509 -in "$live/cert.pem" -noout -checkend 0 >/dev/null || problem "the certificate for $domain has ended"
  [[ $(renewal_setting renew_hook) == "$hook_file" ]] || problem "certbot does not hand a renewed certificate to nginx"
}

check() {
  local lineage_problems
  check_file "$hook_file" root:root 0700 "$hook"
  check_directory "$challenge_directory" root:root 0755
  lineage_problems=$(check_lineage)
  if [[ -n $lineage_problems ]]; then
    problem "$lineage_problems"
  elif [[ $(cat "$live/privkey.pem" "$live/fullchain.pem") != "$(cat "$certificate_file" 2>/dev/null)" ]]; then
    problem "$certificate_file does not hold the certificate for $domain"
  fi
  systemctl is-enabled --quiet certbot.timer 2>/dev/null || problem "certbot.timer does not start at boot"
  systemctl is-active --quiet certbot.timer || problem "certbot.timer does not run, so the certificate will not be renewed"
}

get_certificate() {
  local account=(--register-unsafely-without-email)
  [[ -z $email ]] || account=(--email "$email")
  say "getting a certificate for $domain"
  logged "getting a certificate: does $domain lead to this host, and can its port 80 be reached?" \
    certbot certonly --non-interactive --agree-tos "${account[@]}" --server "$directory" --cert-name "$lineage" \
    --webroot --webroot-path "$challenge_directory" --domain "$domain" --key-type ecdsa --force-renewal \
    --deploy-hook "$hook_file"
}

apply() {
  make_directory "$challenge_directory" root:root 0755
  write_file "$hook_file" root:root 0700 "$hook"
  if [[ -n $(check_lineage) ]]; then
    get_certificate
  elif [[ -n $(check) ]]; then
    logged "handing the certificate to nginx" env RENEWED_LINEAGE="$live" "$hook_file"
  fi
  logged "switching certbot.timer on" systemctl enable --now certbot.timer
}

remove() {
  if [[ -e $renewal_file ]]; then
    logged "deleting the certificate" certbot delete --non-interactive --cert-name "$lineage"
  fi
  rm -f "$hook_file"
  rm -rf "${challenge_directory:?}"
}
