# shellcheck shell=bash
# What certbot runs after each renewal, whichever certificate it is for. When it fails, the step's check reports what is
# left to do.

hand_over() {
  local pem
  [[ $RENEWED_LINEAGE == "/etc/letsencrypt/live/$lineage" ]] || return 0
  lock_reload "once it has ended, 'pulumi up --refresh' hands the certificate over"
  pem=$(cat "$RENEWED_LINEAGE/privkey.pem" "$RENEWED_LINEAGE/fullchain.pem")
  write_file "$certificate_file" root:root 0600 "$pem"
  reload_locked "$certificate_file"
}
