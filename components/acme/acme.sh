# shellcheck shell=bash
# shellcheck disable=SC2154 # the values and the library stand before this text
# A certificate of a public authority, got and renewed by certbot.

readonly certbot_directory=/etc/letsencrypt
readonly live=$certbot_directory/live/$lineage
readonly renewal_file=$certbot_directory/renewal/$lineage.conf

renewal_setting() { sed -n "s/^$1 = //p" "$renewal_file"; }

# date_of startdate|enddate: of the certificate, in seconds.
date_of() { date --date "$(openssl x509 -in "$live/cert.pem" -noout "-$1" | cut -d = -f 2)" +%s; }

# Whether it is all there for certbot, which takes what is left of a broken one for somebody else's.
lineage_is_whole() {
  local part
  [[ -f $renewal_file && $(renewal_setting fullchain) == "$live/fullchain.pem" ]] || return
  for part in cert chain fullchain privkey; do
    [[ -L $live/$part.pem && -f $live/$part.pem ]] || return
  done
}

# What only a new certificate puts right.
check_lineage() {
  local begin end
  if ! lineage_is_whole; then
    problem "there is no certificate of $directory for $domain"
    return
  fi
  [[ $(renewal_setting server) == "$directory" ]] || problem "the certificate is from $(renewal_setting server), not from $directory"
  openssl x509 -in "$live/cert.pem" -noout -checkhost "$domain" | grep --quiet 'does match' ||
    problem "the certificate is not for $domain"
  [[ $(renewal_setting authenticator) == webroot && $(renewal_setting "$domain") == "$challenge_directory" ]] ||
    problem "certbot can not renew the certificate: $renewal_file was changed"
  begin=$(date_of startdate)
  end=$(date_of enddate)
  # certbot renews in the last third of the time, versions before 4.0 in the last 30 days, and looks twice a day.
  (((end - $(date +%s)) * 4 > end - begin)) ||
    problem "the certificate for $domain ends on $(date --date "@$end" --iso-8601), and certbot has not renewed it: see /var/log/letsencrypt"
}

check_handed_over() {
  [[ $(cat "$live/privkey.pem" "$live/fullchain.pem") == "$(cat "$certificate_file" 2>/dev/null)" ]] ||
    problem "$certificate_file does not hold the certificate that certbot got for $domain"
}

check() {
  local lineage_problems
  check_file "$hook_file" root:root 0755 "$hook"
  check_directory "$challenge_directory" root:root 0755
  lineage_problems=$(check_lineage)
  if [[ -n $lineage_problems ]]; then problem "$lineage_problems"; else check_handed_over; fi
  systemctl is-enabled --quiet certbot.timer 2>/dev/null || problem "certbot.timer does not start at boot"
  systemctl is-active --quiet certbot.timer || problem "certbot.timer does not run, so the certificate will not be renewed"
}

forget_lineage() {
  local key
  # Versions before 2.3 keep a copy of every private key.
  for key in "$certbot_directory/archive/$lineage"/privkey*.pem; do
    [[ ! -d $certbot_directory/keys ]] || find "$certbot_directory/keys" -type f -exec cmp --quiet "$key" {} \; -delete
  done
  rm -rf "$renewal_file" "$live" "$certbot_directory/archive/$lineage"
}

get_certificate() {
  local account=(--register-unsafely-without-email)
  [[ -z $email ]] || account=(--email "$email")
  lineage_is_whole || forget_lineage
  say "getting a certificate for $domain"
  (
    logged "getting a certificate for $domain from $directory" \
      certbot certonly --non-interactive --agree-tos "${account[@]}" --server "$directory" --cert-name "$lineage" \
      --webroot --webroot-path "$challenge_directory" --domain "$domain" --key-type ecdsa \
      --force-renewal --renew-with-new-domains
  ) || fail "there is no new certificate, the server goes on with the one it has. The authority must find this host under $domain, on port 80, from everywhere, and the host must reach the authority. Run up again only when that is so: Let's Encrypt takes no more than 5 failures an hour"
}

apply() {
  make_directory "$challenge_directory" root:root 0755
  write_file "$hook_file" root:root 0755 "$hook"
  [[ -z $(check_lineage) ]] || get_certificate
  [[ -z $(check_handed_over) ]] ||
    logged "handing the certificate to nginx" env RENEWED_LINEAGE="$live" "$hook_file"
  logged "switching certbot.timer on" systemctl enable --now certbot.timer
}

# The account with the authority stays, for the next certificate.
remove() {
  forget_lineage
  rm -f "$hook_file"
  rm -rf "${challenge_directory:?}"
  [[ ! -d ${challenge_directory%/*} ]] || rmdir --ignore-fail-on-non-empty "${challenge_directory%/*}"
}
