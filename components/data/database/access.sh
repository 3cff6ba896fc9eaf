# shellcheck shell=bash
# Who reaches the database, and from where: our lines in pg_hba.conf, and the addresses that PostgreSQL listens to.

# The first line of pg_hba.conf that matches decides, so these stand first; each carries our mark.
readonly mark='# mlflow-vps'
readonly databases=$database,$scratch_database # the second is there while a migration is tried
readonly access_lines="local  $databases  all                    peer           $mark
host   $databases  $role  $client_address/32  scram-sha-256  $mark
host   $databases  all  0.0.0.0/0  reject  $mark
host   $databases  all  ::/0  reject  $mark"
readonly server_settings="$managed
listen_addresses = 'localhost'"

settings_file() {
  local file
  file=$(ask config_file)
  echo "${file%/*}/conf.d/mlflow-vps.conf"
}
access_file() { ask access_file; }
listen_addresses() { ask listen_addresses; }

# Where there are databases of others, whom the cluster listens to is theirs to say, and the lines in pg_hba.conf alone keep
# others away from ours.
neighbours() { ask neighbours; }

check_listening() {
  local others file addresses
  others=$(neighbours)
  file=$(settings_file)
  if [[ -n $others ]]; then
    [[ ! -e $file ]] || problem "$file sets listen_addresses for other databases too (${others//$'\n'/, })"
    return
  fi
  check_file "$file" postgres:postgres 0644 "$server_settings"
  addresses=$(listen_addresses)
  [[ $addresses == localhost ]] || problem "PostgreSQL listens on more than localhost"
}

check_access_file() {
  local file lines
  local -a first
  file=$(access_file)
  lines=$(found "$mark\$" "$file")
  mapfile -t -n 1 first <"$file"
  [[ $lines == "$access_lines" && ${first[0]:-} == "${access_lines%%$'\n'*}" ]] ||
    problem "$file lacks the lines that admit only role $role, with its password"
}

# write_access_file LINES: puts them before those of others.
write_access_file() {
  local file others
  file=$(access_file)
  others=$(sed "/$mark\$/d" "$file")
  write_file "$file" postgres:postgres 0640 "$1$others"
}

write_settings_file() {
  local others file
  others=$(neighbours)
  file=$(settings_file)
  if [[ -z $others ]]; then
    write_file "$file" postgres:postgres 0644 "$server_settings"
  elif [[ -e $file ]]; then
    say "PostgreSQL holds other databases too (${others//$'\n'/, }), so $file is removed: after PostgreSQL's next restart, their own files decide on listen_addresses"
    rm "$file"
  fi
}

# It returns before PostgreSQL has read them. Other clusters than ours are not asked to.
load_settings() {
  local before file refused
  before=$(sql postgres <<<'select pg_conf_load_time()::text')
  sql postgres <<<'select pg_reload_conf()' >/dev/null
  wait_until 30 "PostgreSQL did not load its configuration within 30 s; its log says why ('pg_lsclusters' on the host names the file)" \
    has_rows postgres "select 1 where pg_conf_load_time()::text <> '$before'"
  file=$(access_file)
  refused=$(sql postgres <<<"select format('line %s: %s', line_number, error) from pg_hba_file_rules where error is not null limit 1")
  [[ -z $refused ]] || fail "PostgreSQL rejects $file because of its $refused. Fix that line, then run again"
}

# Where another file than ours decides, a restart would change nothing.
listen_locally() {
  local others addresses file winner unit
  others=$(neighbours)
  addresses=$(listen_addresses)
  [[ -z $others && $addresses != localhost ]] || return 0
  file=$(settings_file)
  winner=$(sql postgres <<<"select sourcefile from pg_file_settings where name = 'listen_addresses' order by seqno desc limit 1")
  [[ $winner == "$file" ]] || fail "PostgreSQL listens on '$addresses', as set in $winner: remove listen_addresses there, then run again"
  unit=$(cluster_unit)
  say "restarting PostgreSQL, so that it listens on localhost only"
  logged "restarting $unit" systemctl restart "$unit"
}
