# Managed by mlflow-vps: sent to the host for one run, never stored there.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # some values come from before this text, some are used after it
# Every step script starts with this library. A step defines check, apply and remove; main calls them.

set -Eeuo pipefail
shopt -s inherit_errexit
# The command's text as it stands in the script: variables, and so secrets, are not expanded in it.
trap 'printf "%s: FAILED in %s at: %s\n" "$step" "${FUNCNAME[0]:-main}" "$BASH_COMMAND" >&2' ERR
umask 022
export LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l

readonly state_directory=/etc/mlflow-vps
readonly log_directory=/var/log/mlflow-vps
readonly log_file=$log_directory/$step.log
readonly dumps=/var/backups/mlflow-vps
readonly site_link=/etc/nginx/sites-enabled/mlflow-vps # our site, as nginx finds it

# A line of progress, for the person in front of 'pulumi up'.
say() { printf '%s: %s\n' "$step" "$*"; }

# A line of 'check': something is not as it should be.
problem() { printf '%s\n' "$*"; }

# Ends the run: what failed, and what to do.
fail() {
  printf '%s: FAILED: %s\n' "$step" "$*" >&2
  exit 1
}

# logged ACTION COMMAND...: runs a command with its long output in the step's log; a failure shows the last lines.
logged() {
  local action=$1
  shift
  install -d -m 0750 "$log_directory"
  printf '\n== %s %s\n' "$(date --iso-8601=seconds)" "$action" >>"$log_file"
  "$@" >>"$log_file" 2>&1 || {
    printf '%s: FAILED: %s. Last lines of %s on the host:\n' "$step" "$action" "$log_file" >&2
    tail -n 15 "$log_file" | cut -c -400 >&2
    exit 1
  }
}

# check_file PATH OWNER:GROUP MODE CONTENT: names what differs from a file that write_file would make.
check_file() {
  local path=$1 owner=$2 mode=$3 content=$4
  if [[ ! -f $path ]]; then
    problem "$path is missing"
    return
  fi
  [[ $(stat -c %U:%G "$path") == "$owner" ]] || problem "$path belongs to $(stat -c %U:%G "$path"), not to $owner"
  [[ $(stat -c %a "$path") == "${mode#0}" ]] || problem "$path has mode $(stat -c %a "$path"), not ${mode#0}"
  [[ $(<"$path") == "$content" ]] || problem "$path was changed"
}

# write_file PATH OWNER:GROUP MODE CONTENT: puts the file in place whole, or not at all; leaves a right one alone.
write_file() {
  local path=$1 owner=$2 mode=$3 content=$4 partial
  if [[ -z $(check_file "$@" 2>&1) ]]; then
    # After a clock was set back, what is from the future would always look newer than the process that reads it.
    (($(stat -c %Y "$path") <= $(date +%s))) || touch "$path"
    return
  fi
  mkdir -p "$(dirname "$path")"
  rm -f "$path".mlflow-vps.?????? # of a run that was killed
  partial=$(mktemp "$path.mlflow-vps.XXXXXX")
  { chown "$owner" "$partial" && chmod "$mode" "$partial" && printf '%s\n' "$content" >"$partial" && mv -f "$partial" "$path"; } || {
    rm -f "$partial"
    fail "can not write $path"
  }
}

# check_access PATH OWNER:GROUP MODE: names another owner or mode of something that is there.
check_access() {
  local found
  found=$(stat -c '%U:%G %a' "$1")
  [[ $found == "$2 ${3#0}" ]] || problem "$1 is $found, not $2 ${3#0}"
}

# check_directory PATH OWNER:GROUP MODE: names what differs from a directory that make_directory would make.
check_directory() {
  if [[ -d $1 ]]; then check_access "$@"; else problem "$1 is missing"; fi
}
make_directory() {
  mkdir -p "$(dirname "$1")"
  install -d -o "${2%:*}" -g "${2#*:}" -m "$3" "$1"
}

# Memory of the host in MB.
memory_mb() {
  echo $(($(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo) / 1024))
}

# check_room DIRECTORY MEGABYTES: names a lack of free disk where the directory is or will be.
check_room() {
  local existing=$1 free
  until [[ -d $existing ]]; do existing=$(dirname "$existing"); done
  free=$(($(df --output=avail -k "$existing" | tail -n 1) / 1024))
  ((free >= $2)) || problem "$1 has $free MB free, the server needs $2 MB; make room or take a larger disk"
}

# The system user that the server runs as; it owns nothing but its data.
check_account() {
  id -u "$1" >/dev/null 2>&1 || problem "system user $1 is missing"
  getent group "$1" >/dev/null || problem "group $1 is missing"
}
# Somebody may have made the user, with another group.
make_account() {
  getent group "$1" >/dev/null || logged "making the group $1" groupadd --system "$1"
  id -u "$1" >/dev/null 2>&1 ||
    logged "making the system user $1" useradd --system --gid "$1" --home-dir /var/lib/mlflow --no-create-home \
      --shell /usr/sbin/nologin "$1"
}

# sql DATABASE: runs the statements on stdin as PostgreSQL's superuser; prints bare values.
sql() {
  runuser --user postgres -- psql --no-psqlrc --quiet --tuples-only --no-align --port "$database_port" \
    --set ON_ERROR_STOP=1 --dbname "$1"
}

database_answers() { systemctl is-active --quiet postgresql && sql postgres <<<'select 1' >/dev/null 2>&1; }

start_database() {
  database_answers || logged "starting PostgreSQL" systemctl enable --now postgresql
  database_answers || fail "PostgreSQL does not answer on port $database_port: see 'pg_lsclusters' and 'journalctl -u postgresql@*' on the host, or set database.port"
}

# check_room_for_copy DATABASE: names a lack of disk for a copy of it, what its migration may add, and a dump.
check_room_for_copy() {
  local size where
  size=$(($(sql postgres <<<"select pg_database_size('$1')") / 1024 / 1024))
  for where in "$(sql postgres <<<'show data_directory')" "$dumps"; do check_room "$where" $((3 * size + 300)); done
}

# copy_database FROM TO ROLE: a new database with everything of another one, owned by the role.
copy_database() {
  sql postgres <<<"create database \"$2\" owner \"$3\" encoding 'UTF8' locale 'C.UTF-8' template template0" &&
    runuser --user postgres -- pg_dump --port "$database_port" --format custom "$1" |
    runuser --user postgres -- pg_restore --port "$database_port" --no-owner --role "$3" --exit-on-error --dbname "$2"
}

dump_database() {
  (umask 077 && runuser --user postgres -- pg_dump --port "$database_port" --format custom "$1" >"$2")
}

# keep_dump DATABASE CHANGE: dumps it before this change, under the name that it has with us; whole, or not at all.
keep_dump() {
  local file
  file=$dumps/$database-$(date --utc +%Y%m%dT%H%M%SZ)-before-$2.dump
  install -d -m 0700 "$dumps"
  rm -f "$dumps"/*.partial # of a run that was cut off
  trap 'rm -f "$dumps"/*.partial' EXIT
  say "dumping the database to $file"
  # Not by 'logged': its output is the dump.
  { dump_database "$1" "$file.partial" && sync "$file.partial" && mv "$file.partial" "$file"; } 2>>"$log_file" ||
    fail "the database could not be dumped, so it was left as it is: $(tail -n 2 "$log_file")"
  trap - EXIT
}

# command_of UNIT: the command that it starts, without quotes.
command_of() {
  systemctl show --property ExecStart --value "$1" 2>/dev/null | sed -n 's/.* argv\[\]=\(.*\) ; ignore_errors=.*/\1/p' | tr -d "'\""
}

# handmade_servers: units that somebody else made and that start an MLflow server.
handmade_servers() {
  local file server
  { grep --files-with-matches --no-messages mlflow /etc/systemd/system/*.service || true; } | while read -r file; do
    server=${file##*/}
    [[ $(head -n 1 "$file") == "$managed" || "$(command_of "$server") " != *'mlflow server '* ]] || printf '%s\n' "$server"
  done
}

# older_than PID FILE...: true when the process started before one of the files came to be as it is now. Clock ticks
# (0.01 s) are the finest that the kernel tells; a service is never restarted within 0.05 s of writing its files.
older_than() {
  local now uptime ticks started file
  ticks=$(sed 's/.*) //' "/proc/$1/stat" | cut -d ' ' -f 20)
  now=$(date +%s%3N)
  read -r uptime _ </proc/uptime
  started=$((now - ${uptime/./}0 + ticks * 1000 / $(getconf CLK_TCK)))
  shift
  for file in "$@"; do
    [[ ! -e $file ]] || (($(stat -c %.3Y "$file" | tr -d .) <= started + 50)) || return 0
  done
  return 1
}

# nginx_has_read FILE...: true when all workers started after the files came to be as they are now, for that is when they
# took up the configuration; those that only finish their last requests do not count.
nginx_has_read() {
  local nginx worker
  nginx=$(systemctl show --property MainPID --value nginx.service)
  for worker in $(<"/proc/$nginx/task/$nginx/children"); do
    grep --quiet 'is shutting down' "/proc/$worker/cmdline" || ! older_than "$worker" "$@" || return 1
  done
}

# reload_nginx FILE...: has a running nginx take up the files, without dropping a request. One at a time: steps run beside
# each other, and the end of one reload would end what the other has asked of the clients.
reload_nginx() {
  local deadline
  systemctl is-active --quiet nginx.service || return 0
  exec 8>/run/mlflow-vps/reload
  flock 8
  deadline=$((SECONDS + 30))
  # nginx ends idle connections at once, also under a request that is already on its way; so clients are asked to end
  # theirs before (see the site).
  if [[ -e $site_link ]]; then
    install -d -m 0755 "${drain_file%/*}"
    trap 'rm -f "$drain_file"' EXIT
    : >"$drain_file"
    sleep 3
  fi
  logged "reloading nginx" systemctl reload nginx.service
  # A reload returns before the new workers are there.
  until nginx_has_read "$@"; do
    ((SECONDS < deadline)) || fail "nginx did not take up its configuration in 30 s; see 'journalctl -u nginx' on the host"
    sleep 0.2 # between two looks; the new workers are the condition
  done
  rm -f "$drain_file"
  exec 8>&-
}

# One run of a step at a time: the lock is held by this process and gone with it.
lock() {
  local file=/run/mlflow-vps/$step.lock
  ((EUID == 0)) || return 0 # a step without privileges changes nothing
  install -d -m 0755 /run/mlflow-vps
  exec 9<>"$file"
  if ! flock --nonblock 9; then
    say "another run of this step is still under way on the host (process $(<"$file")), waiting for it"
    flock --timeout 600 9 || fail "process $(<"$file") still holds $file after 10 minutes: end it, then run again"
  fi
  printf '%s\n' "$$" >"$file"
}

main() {
  local left
  case $1 in
    check) check ;;
    apply)
      lock
      left=$(check)
      [[ -n $left ]] || return 0
      apply
      left=$(check)
      [[ -z $left ]] || fail "done, but not as wanted:"$'\n'"$left"
      say "done"
      ;;
    remove)
      lock
      remove
      [[ ! -d $state_directory ]] || rmdir --ignore-fail-on-non-empty "$state_directory"
      ;;
    *) fail "unknown action $1" ;;
  esac
}
