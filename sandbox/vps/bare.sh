# shellcheck shell=bash
# The layer 'bare', a provider's image: the sudo user, and the authorities that this machine trusts.
set -euo pipefail

: "${login_user:?} ${cache_authority:?} ${dir?}" # of vps.sh and cache.sh

make_bare() {
  chroot "$1" /usr/sbin/useradd --create-home --shell /bin/bash --groups sudo "$login_user" </dev/null
  chroot "$1" /usr/bin/install -d -m 0700 -o "$login_user" -g "$login_user" "/home/$login_user/.ssh"
  printf '%s ALL=(ALL) NOPASSWD:ALL\n' "$login_user" >"$1/etc/sudoers.d/90-$login_user"
  chmod 0440 "$1/etc/sudoers.d/90-$login_user"
  printf 'PasswordAuthentication no\nPermitRootLogin no\n' >"$1/etc/ssh/sshd_config.d/10-sandbox.conf"
  printf 'LANG=C.UTF-8\n' >"$1/etc/default/locale"
  trust_the_hosts_authorities "$1"
}

# Where this machine trusts authorities that a stock Debian does not (a proxy that opens TLS), the guest has to trust them
# too, and the package cache in any case. As local certificates they survive update-ca-certificates and a reinstallation of ca-certificates.
trust_the_hosts_authorities() {
  local root=$1 bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt} target authorities
  target=$root/usr/local/share/ca-certificates
  mkdir -p "$target"
  [[ ! -e $cache_authority ]] || cp "$cache_authority" "$target/mlflow-vps-packages.crt"
  [[ ! -r $bundle ]] || copy_unknown_authorities "$root/etc/ssl/certs/ca-certificates.crt" "$bundle" "$target"
  authorities=$(ls "$target")
  [[ -n $authorities ]] || return 0
  chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin update-ca-certificates >"$dir/ca.log" 2>&1 </dev/null ||
    die "update-ca-certificates failed in the guest: see $dir/ca.log"
  # pip and uv bring authorities of their own, unless configured otherwise.
  printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$root/etc/pip.conf"
  mkdir -p "$root/etc/uv"
  printf 'system-certs = true\n' >"$root/etc/uv/uv.toml"
}

# copy_unknown_authorities KNOWN BUNDLE DIRECTORY: a file each.
copy_unknown_authorities() {
  awk -v target="$3" '
    /-----BEGIN CERTIFICATE-----/ { body = ""; inside = 1; next }
    /-----END CERTIFICATE-----/ {
      inside = 0
      if (FNR == NR) known[body] = 1
      else if (!(body in known)) {
        known[body] = 1
        file = target "/host-" ++n ".crt"
        print "-----BEGIN CERTIFICATE-----" > file
        for (i = 1; i <= length(body); i += 64) print substr(body, i, 64) > file
        print "-----END CERTIFICATE-----" > file
        close(file)
      }
      next
    }
    inside { gsub(/[ \r\t]/, ""); body = body $0 }' "$1" "$2"
}
