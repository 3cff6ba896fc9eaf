# shellcheck shell=bash
# A cache of packages for the guests: part of sandbox/vps.sh, which sources it.
#
# One nginx per machine answers at 10.77.0.2, in a network namespace of its own, so that it takes no port of the machine.
# A guest's /etc/hosts leads the hosts of Debian's and PyPI's packages there: to apt, pip and uv it is the mirror itself.
# Everything else that a guest sends goes its usual way. The first 'up' or 'start' that finds no cache starts it; it stays
# until 'sandbox/vps.sh cache stop' or the machine's end.

: "${lock_dir:?is set by sandbox/vps.sh}"
cache= # 'yes' once it is known to run

cache_store=/var/cache/mlflow-vps # where nginx's own user may write, and the same for everybody on this machine
cache_authority=$cache_store/tls/authority.crt
cache_address=10.77.0.2
pypi_hosts='pypi.org files.pythonhosted.org' # the defaults of pip and uv

lock_cache() {
  exec 6>"$lock_dir/mlflow-vps-cache"
  flock -w 600 6 || die "cannot get $lock_dir/mlflow-vps-cache: another sandbox/vps.sh hangs"
}
unlock_cache() { exec 6>&-; }

# Prints 'yes' when it answers. A worker outlives a killed master, so the processes tell less.
cache_answers() {
  local ask="exec 3<>/dev/tcp/$cache_address/80; printf 'GET /answers HTTP/1.0\r\n\r\n' >&3; grep -q '^HTTP/1.1 204 ' <&3"
  if timeout 5 bash -c "$ask" 2>/dev/null; then echo yes; fi
}

cache_processes() {
  local there
  there=$(has_netns mlflow-vps-0)
  [[ -z $there ]] || ip netns pids mlflow-vps-0
}

# The certificate of PyPI's hosts, by an authority whose key is gone when this is done: it vouches for nothing else, ever.
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
    # Lists and pages: asked for again after the ten minutes that PyPI gives its own, the last answer stands in where there is
    # none. What Debian's lists name is there under its digest.
    location / { proxy_cache_valid 200 10m; proxy_pass http://127.0.0.1:8080; }
    # What has its version or its digest in its name.
    location ~ (/by-hash/|\.deb\$|^/packages/.) { proxy_cache_valid 200 365d; proxy_pass http://127.0.0.1:8080; }
  }

  # The way out. A name that does not resolve is a 502 of this server, so that the one above has an answer to stand in for.
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

# Prints 'yes' when nginx is on this machine, also by installing it.
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

# What stays must hold nothing of who started it: no lock, no pipe.
in_cache_network() (
  for fd in "/proc/$BASHPID/fd"/*; do
    fd=${fd##*/}
    [[ $fd -le 2 ]] || eval "exec $fd>&-"
  done
  exec nsenter --net=/run/netns/mlflow-vps-0 "$@" >"$cache_store/start.log" 2>&1 </dev/null
)

start_nginx() {
  in_cache_network nginx -c "$cache_store/nginx.conf" "$@" && return 0
  tail -n 5 "$cache_store/start.log" >&2
  die "the package cache does not start: see the lines above, then 'sandbox/vps.sh cache stop' and once more"
}

# The processes end by force: what the cache holds is written to the side and moved into its place.
end_cache() {
  local processes pids deadline=$((SECONDS + 20))
  processes=$(cache_processes)
  while [[ -n $processes ]]; do
    mapfile -t pids <<<"$processes"
    kill -KILL "${pids[@]}" 2>/dev/null || true # some may have ended by themselves
    [[ $SECONDS -lt $deadline ]] || die "processes of the package cache do not end even when killed: ${pids[*]}"
    sleep 0.02
    processes=$(cache_processes)
  done
  lock_network
  remove_network 0
  unlock_network
}

# Makes the cache run with the settings of today, from whatever state it is in. Prints 'yes', or nothing where this machine
# can have none: the guests then go to the network themselves.
start_cache() {
  local nginx config answers there free large log
  mkdir -p "$cache_store"
  lock_cache
  nginx=$(has_nginx)
  if [[ -z $nginx ]]; then
    say "no package cache, the guests go to the network directly: nginx could not be installed (see $cache_store/install.log)"
    return 0
  fi
  answers=$(cache_answers)
  [[ -n $answers ]] || end_cache
  there=$(has_netns mlflow-vps-0)
  free=$(subnet_is_free 0)
  if [[ -z $there && -z $free ]]; then
    say "no package cache, the guests go to the network directly: 10.77.0.0/24 is used by something else on this machine"
    return 0
  fi
  lock_network
  establish_network 0
  unlock_network
  make_cache_certificate
  config=$(cache_config)
  if [[ -z $answers ]]; then
    printf '%s\n' "$config" >"$cache_store/nginx.conf"
    start_nginx
    answers=$(cache_answers)
    [[ -n $answers ]] || die "the package cache started and does not answer: see $cache_store/error.log"
  elif [[ $config != "$(<"$cache_store/nginx.conf")" ]]; then # another resolver, another version of this file
    printf '%s\n' "$config" >"$cache_store/nginx.conf"
    start_nginx -s reload
  fi
  large=$(find "$cache_store" -maxdepth 1 -name '*.log' -size +10M)
  if [[ -n $large ]]; then
    while read -r log; do mv "$log" "$log.1"; done <<<"$large"
    start_nginx -s reopen
  fi
  unlock_cache
  echo yes
}

stop_cache() {
  lock_cache
  end_cache
  unlock_cache
}

clear_cache() {
  lock_cache
  end_cache
  remove_tree "$cache_store/packages"
  rm -f "$cache_store"/*.log "$cache_store"/*.log.1
  unlock_cache
}

show_cache() {
  local answers size state=stopped
  answers=$(cache_answers)
  [[ -z $answers ]] || state=running
  size=$(du -sm "$cache_store" 2>/dev/null | cut -f1 || true) # a file may vanish while it is looked at
  printf '%s, %s MB of 4096 in %s\n' "$state" "${size:-0}" "$cache_store"
  [[ ! -s $cache_store/access.log ]] || awk '
    { requests++; served += $4; received += $3 }
    END { printf "%d requests, %d MB served, %d MB of them from the network\n", requests, served / 2^20, received / 2^20 }' \
    "$cache_store/access.log"
}

# --- the guest's side ----------------------------------------------------------------------------------------------

trust_the_cache() {
  [[ ! -e $cache_authority ]] || cp "$cache_authority" "$1/usr/local/share/ca-certificates/mlflow-vps-packages.crt"
}

# Leads the guest to the cache, or to the mirrors themselves: where it is to use those, where there is no cache, and where
# its disk is from before there was one.
choose_mirrors() {
  local root=$1 mark='# the package cache of sandbox/vps.sh' hosts debian use=$cache noted
  noted=$(saved mirrors cached)
  [[ $noted == cached ]] || use=
  cmp -s "$cache_authority" "$root/usr/local/share/ca-certificates/mlflow-vps-packages.crt" || use=
  hosts=$(grep -vF "$mark" "$root/etc/hosts")
  rm -f "$root/etc/apt/apt.conf.d/99sandbox"
  if [[ -n $use ]]; then
    debian=$(awk -F/ '$1 == "deb http:" && !seen[$3]++ { printf "%s ", $3 }' "$root/etc/apt/sources.list")
    hosts+=$'\n'"$cache_address $debian$pypi_hosts $mark"
    # apt asks for the mirror's SRV record before it asks for its address.
    printf 'Acquire::EnableSrvRecords "false";\n' >"$root/etc/apt/apt.conf.d/99sandbox"
  fi
  printf '%s\n' "$hosts" >"$root/etc/hosts"
}
