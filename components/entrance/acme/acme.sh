# shellcheck shell=bash
# A certificate of a public authority, obtained and renewed by certbot.

readonly certbot_directory=/etc/letsencrypt
readonly live=$certbot_directory/live/$lineage
readonly renewal_file=$certbot_directory/renewal/$lineage.conf

renewal_setting() { sed -n "s/^$1 = //p" "$renewal_file"; }

# Whether certbot's files are complete: it takes the rest of a broken set for somebody else's.
lineage_is_whole() {
  local part chain
  [[ -f $renewal_file ]] || return 0
  chain=$(renewal_setting fullchain)
  [[ $chain == "$live/fullchain.pem" ]] || return 0
  for part in cert chain fullchain privkey; do
    [[ -L $live/$part.pem && -f $live/$part.pem ]] || return 0
  done
  holds x509 "$live/cert.pem"
}

# Problems that only a new certificate solves.
check_lineage() {
  local whole server right authenticator webroot begin end now
  whole=$(lineage_is_whole)
  if [[ -z $whole ]]; then
    problem "there is no certificate of $directory for $domain"
    return
  fi
  server=$(renewal_setting server)
  [[ $server == "$directory" ]] || problem "the certificate is from $server, not from $directory"
  right=$(is_for "$domain" "$live/cert.pem")
  [[ -n $right ]] || problem "the certificate is not for $domain"
  authenticator=$(renewal_setting authenticator)
  webroot=$(renewal_setting "$domain")
  # An authority that has seen the proof lately asks for none, and certbot then notes down the general setting only.
  [[ -n $webroot ]] || webroot=$(renewal_setting webroot_path)
  [[ $authenticator == webroot && ${webroot%,} == "$challenge_directory" ]] ||
    problem "certbot cannot renew the certificate: $renewal_file was changed"
  begin=$(date_of startdate "$live/cert.pem")
  end=$(date_of enddate "$live/cert.pem")
  now=$(date +%s)
  # certbot renews in the last third of the time, versions before 4.0 in the last 30 days, and looks twice a day.
  if (((end - now) * 4 <= end - begin)); then
    end=$(date --date "@$end" --iso-8601)
    problem "the certificate for $domain expires on $end, and certbot has not renewed it: see /var/log/letsencrypt"
  fi
}

check_handed_over() {
  local ours served in_use
  ours=$(cat "$live/privkey.pem" "$live/fullchain.pem")
  served=$(content_of "$certificate_file")
  if [[ $ours != "$served" ]]; then
    problem "$certificate_file does not hold the certificate that certbot got for $domain"
    return
  fi
  in_use=$(nginx_is_current "$certificate_file")
  [[ -n $in_use ]] || problem "nginx has not loaded the current $certificate_file"
}

check() {
  local wrong at_boot active
  check_file "$hook_file" root:root 0755 "$hook"
  check_directory "$challenge_directory" root:root 0755
  wrong=$(check_programs openssl)
  [[ -n $wrong ]] || wrong=$(check_lineage)
  [[ -n $wrong ]] || wrong=$(check_handed_over)
  [[ -z $wrong ]] || problem "$wrong"
  at_boot=$(starts_at_boot certbot.timer)
  [[ -n $at_boot ]] || problem "certbot.timer does not start at boot"
  active=$(is_active certbot.timer)
  [[ -n $active ]] || problem "certbot.timer is not running, so the certificate will not be renewed"
}

# delete_copies FILE: versions of certbot before 2.3 keep a copy of every private key.
delete_copies() {
  local copy code
  for copy in "$certbot_directory"/keys/*; do
    [[ -f $copy ]] || continue
    code=0
    cmp --quiet "$1" "$copy" || code=$?
    case $code in
      0) rm "$copy" ;;
      1) ;; # another key
      *) fail "cmp exited $code: cannot tell whether $copy is a copy of $1" ;;
    esac
  done
}

forget_lineage() {
  local key
  for key in "$certbot_directory/archive/$lineage"/privkey*.pem; do
    [[ ! -f $key ]] || delete_copies "$key"
  done
  rm -rf "$renewal_file" "$live" "$certbot_directory/archive/$lineage"
}

get_certificate() {
  local account=(--register-unsafely-without-email) whole status
  [[ -z $email ]] || account=(--email "$email")
  whole=$(lineage_is_whole)
  [[ -n $whole ]] || forget_lineage
  say "getting a certificate for $domain"
  attempt logged "getting a certificate for $domain from $directory" \
    certbot certonly --non-interactive --agree-tos "${account[@]}" --server "$directory" --cert-name "$lineage" \
    --webroot --webroot-path "$challenge_directory" --domain "$domain" --key-type ecdsa \
    --force-renewal --renew-with-new-domains
  ((status == 0)) ||
    fail "no new certificate was issued; the server keeps the one it has. The authority must reach this host as $domain on port 80, from everywhere, and the host must reach the authority. Run up again only then: Let's Encrypt allows no more than 5 failures an hour"
}

apply() {
  local wrong
  make_directory "$challenge_directory" root:root 0755
  write_file "$hook_file" root:root 0755 "$hook"
  wrong=$(check_lineage)
  [[ -z $wrong ]] || get_certificate
  wrong=$(check_handed_over)
  if [[ -n $wrong ]]; then
    logged "handing the certificate to nginx" env RENEWED_LINEAGE="$live" "$hook_file"
  fi
  logged "enabling certbot.timer" systemctl enable --now certbot.timer
}

# The account with the authority stays, for the next certificate.
remove() {
  forget_lineage
  rm -f "$hook_file"
  rm -rf "${challenge_directory:?}"
  [[ ! -d ${challenge_directory%/*} ]] || rmdir --ignore-fail-on-non-empty "${challenge_directory%/*}"
}
