# shellcheck shell=bash
# A cache of packages for the guests.
#
# One nginx per machine answers at 10.77.0.2, in a network namespace of its own, so that it takes no port of the machine.
# A guest's /etc/hosts points the hosts of Debian's and PyPI's packages to it: to apt, pip and uv it is the mirror itself.
# All other traffic of a guest is unaffected. The first 'up' or 'start' that finds no cache starts it; it stays
# until 'sandbox/vps.sh cache stop' or the machine's end.
set -euo pipefail

: "${lock_dir:?} ${cache?}" # of vps.sh
cache_store=/var/cache/mlflow-vps # where nginx's own user may write, and the same for everybody on this machine
cache_authority=$cache_store/tls/authority.crt
cache_address=10.77.0.2
pypi_hosts='pypi.org files.pythonhosted.org' # the defaults of pip and uv

lock_cache() {
  exec 6>"$lock_dir/mlflow-vps-cache"
  flock -w 600 6 || die "cannot get $lock_dir/mlflow-vps-cache: another sandbox/vps.sh hangs"
}
unlock_cache() { exec 6>&-; }

# Prints 'yes' when it answers. A worker outlives a killed master, so a process is no proof.
cache_answers() {
  local ask="exec 3<>/dev/tcp/$cache_address/80; printf 'GET /answers HTTP/1.0\r\n\r\n' >&3; grep -q '^HTTP/1.1 204 ' <&3"
  if timeout 5 bash -c "$ask" 2>/dev/null; then echo yes; fi
}

cache_processes() {
  local there
  there=$(has_netns mlflow-vps-0)
  [[ -z $there ]] || ip netns pids mlflow-vps-0
}

# The processes are killed, which is safe: nginx writes a cached file beside its place and renames it.
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

# Makes the cache run with its current settings, from whatever state it is in. Prints 'yes', or nothing where this machine
# can have none: the guests then go to the network themselves.
start_cache() {
  local answers obstacle
  mkdir -p "$cache_store"
  lock_cache
  obstacle=$(no_nginx)
  if [[ -z $obstacle ]]; then
    answers=$(cache_answers)
    [[ -n $answers ]] || end_cache
    obstacle=$(no_room)
  fi
  if [[ -n $obstacle ]]; then
    say "no package cache, the guests go to the network directly: $obstacle"
    return 0
  fi
  lock_network
  establish_network 0
  unlock_network
  make_cache_certificate
  run_cache "$answers"
  rotate_cache_logs
  unlock_cache
  echo yes
}

no_nginx() {
  local nginx
  nginx=$(has_nginx)
  [[ -n $nginx ]] || printf 'nginx could not be installed (see %s)' "$cache_store/install.log"
}

no_room() {
  local there free
  there=$(has_netns mlflow-vps-0)
  free=$(subnet_is_free 0)
  [[ -n $there$free ]] || printf '10.77.0.0/24 is used by something else on this machine'
}

# run_cache ANSWERS: starts it where it does not answer; reloads one that runs with other settings.
run_cache() {
  local answers=$1 config
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
}

rotate_cache_logs() {
  local large log
  large=$(find "$cache_store" -maxdepth 1 -name '*.log' -size +10M)
  [[ -n $large ]] || return 0
  while read -r log; do mv "$log" "$log.1"; done <<<"$large"
  start_nginx -s reopen
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

# Points the guest to the cache, or to the mirrors themselves: with --mirrors real, without a cache, and on a disk that is
# older than the cache.
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
