# shellcheck shell=bash
# The nginx of the package cache: its certificate, its configuration, its start.
set -euo pipefail

: "${cache_store:?} ${cache_address:?} ${pypi_hosts:?}" # of cache.sh

# The certificate of PyPI's hosts. The authority's key is deleted at once, so it can never sign anything else.
make_cache_certificate() {
  local tls=$cache_store/tls log=$cache_store/tls.log names host work
  [[ ! -e $tls ]] || return 0
  mkdir -p "$cache_store"
  work=$(mktemp -d "$cache_store/tls.XXXXXX")
  for host in $pypi_hosts; do names=${names:+$names,}DNS:$host; done
  if ! {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=mlflow-vps package cache" \
      -addext keyUsage=critical,keyCertSign -keyout "$work/authority.key" -out "$work/authority.crt" &&
      openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=${pypi_hosts%% *}" \
        -keyout "$work/server.key" -out "$work/server.csr" &&
      openssl x509 -req -in "$work/server.csr" -CA "$work/authority.crt" -CAkey "$work/authority.key" -CAcreateserial \
        -days 3650 -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth' "$names") -out "$work/server.crt"
  } >"$log" 2>&1; then
    die "openssl could not make the certificate of the package cache: see $log"
  fi
  rm -f "$work"/authority.key "$work"/server.csr "$work"/*.srl
  mv "$work" "$tls"
}

cache_config() {
  local resolvers source
  source=$(resolver_source)
  resolvers=$(awk '$1 == "nameserver" && $2 !~ /:/ { printf "%s ", $2 }' "$source")
  cat <<TEXT
user www-data;
worker_processes 1;
pid $cache_store/nginx.pid;
error_log $cache_store/error.log;
events {}
http {
  # What came from the network of this machine: the sum of the column after the status.
  log_format packages '\$upstream_cache_status \$status \$upstream_bytes_received \$body_bytes_sent \$request_time \$scheme://\$host\$request_uri';
  access_log off;

  proxy_cache_path $cache_store/packages levels=1:2 keys_zone=packages:4m max_size=4g inactive=90d use_temp_path=off;
  proxy_http_version 1.1;

  server {
    listen $cache_address:80 backlog=511;
    listen $cache_address:443 ssl;
    ssl_certificate $cache_store/tls/server.crt;
    ssl_certificate_key $cache_store/tls/server.key;
    access_log $cache_store/access.log packages;

    proxy_set_header Host \$host;
    proxy_set_header X-Forwarded-Proto \$scheme;
    proxy_set_header Accept-Encoding "";
    proxy_cache packages;
    proxy_cache_key \$scheme://\$host\$request_uri\$http_accept; # PyPI's pages are HTML or JSON
    proxy_ignore_headers Cache-Control Expires Set-Cookie;
    proxy_cache_lock on; # who asks for what is on its way waits for it
    proxy_cache_lock_timeout 10m;
    proxy_cache_lock_age 10m;
    proxy_cache_revalidate on;
    proxy_cache_use_stale error timeout invalid_header http_500 http_502 http_503 http_504;

    location = /answers { access_log off; return 204; }
    # Lists and pages: fetched again after ten minutes, as PyPI's own cache does; the last answer stands in when there is
    # none. The files that Debian's lists name are cached under their digest.
    location / { proxy_cache_valid 200 10m; proxy_pass http://127.0.0.1:8080; }
    # Files with a version or a digest in their name never change.
    location ~ (/by-hash/|\.deb\$|^/packages/.) { proxy_cache_valid 200 365d; proxy_pass http://127.0.0.1:8080; }
  }

  # To the network. A name that does not resolve is a 502 here, for which the server above can let its last answer stand in.
  server {
    listen 127.0.0.1:8080;
    resolver ${resolvers}ipv6=off;
    resolver_timeout 3s; # pip waits for 15
    location / {
      proxy_set_header Host \$host;
      proxy_pass \$http_x_forwarded_proto://\$host\$request_uri;
      proxy_connect_timeout 3s;
      proxy_max_temp_file_size 0;
      proxy_ssl_server_name on;
      proxy_ssl_verify on;
      proxy_ssl_verify_depth 5;
      proxy_ssl_trusted_certificate ${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt};
    }
  }
}
TEXT
}

# Prints 'yes' when nginx is on this machine; installs it if necessary.
has_nginx() {
  local installed booted=
  if ! command -v nginx >/dev/null; then
    say "installing nginx, for the package cache"
    [[ ! -d /run/systemd/system ]] || booted=yes
    # Not as a service of this machine, neither now nor after its next boot.
    [[ -z $booted ]] || systemctl --quiet --runtime mask nginx.service
    installed=$(apt_install "$cache_store/install.log" nginx)
    [[ -z $booted ]] || systemctl --quiet --runtime unmask nginx.service
    [[ -n $installed ]] || return 0
    [[ -z $booted ]] || systemctl --quiet disable nginx.service
  fi
  echo yes
}

# Prints 'yes' when it succeeded. The daemon must not inherit a lock or a pipe.
in_cache_network() (
  for fd in "/proc/$BASHPID/fd"/*; do
    fd=${fd##*/}
    [[ $fd -le 2 ]] || eval "exec $fd>&-"
  done
  if nsenter --net=/run/netns/mlflow-vps-0 "$@" >"$cache_store/start.log" 2>&1 </dev/null; then echo yes; fi
)

start_nginx() {
  local started
  started=$(in_cache_network nginx -c "$cache_store/nginx.conf" "$@")
  [[ -z $started ]] || return 0
  tail -n 5 "$cache_store/start.log" >&2
  die "the package cache does not start: see the lines above, then run 'sandbox/vps.sh cache stop' and try again"
}
