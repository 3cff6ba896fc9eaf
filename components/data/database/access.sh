# shellcheck shell=bash
# Who reaches the database, and from where: our lines in pg_hba.conf, and the addresses that PostgreSQL listens to.

# The first line of pg_hba.conf that matches decides, so these stand first; each carries our mark.
readonly mark='# mlflow-vps'
readonly usual_connections=100 # that PostgreSQL takes where it is told nothing
readonly databases=$database,$scratch_database # the second is there while a migration is tried
readonly access_lines="local  $databases  all                    peer           $mark
host   $databases  $role  $client_address/32  scram-sha-256  $mark
host   $databases  all  0.0.0.0/0  reject  $mark
host   $databases  all  ::/0  reject  $mark"

# server_settings ADDRESS: what our file of settings holds.
server_settings() {
  printf '%s\n' "$managed" "listen_addresses = '$1'"
  ((connections <= usual_connections)) || printf '%s\n' "max_connections = $connections"
}

# names_address SETTINGS: whether they have PostgreSQL listen on the address where the service looks for it.
names_address() { [[ $1 != *"listen_addresses = '$database_address'"* ]] || echo yes; }

# listening_address: localhost, as PostgreSQL's own; but the address where the service looks for it, where /etc/hosts has
# localhost lead elsewhere, as to ::1 only. It stays when /etc/hosts is mended: a change restarts PostgreSQL.
listening_address() {
  local file text named code=0 addresses
  file=$(settings_file)
  text=$(content_of "$file")
  named=$(names_address "$text")
  if [[ -n $named ]]; then
    echo "$database_address"
    return
  fi
  addresses=$(getent ahosts localhost) || code=$?
  ((code == 0 || code == 2)) || fail "getent exited $code"
  if [[ $'\n'$addresses == *$'\n'"$database_address "* ]]; then echo localhost; else echo "$database_address"; fi
}

settings_file() {
  local file
  file=$(ask config_file)
  echo "${file%/*}/conf.d/mlflow-vps.conf"
}
access_file() { ask access_file; }
listen_addresses() { ask listen_addresses; }

too_few_connections() {
  local most
  ((connections > usual_connections)) || return 0
  most=$(ask max_connections)
  ((most >= connections)) || printf '%s' "$most"
}

# Where there are databases of others, whom the cluster listens to is theirs to say, and the lines in pg_hba.conf alone keep
# others away from ours.
neighbours() { ask neighbours; }

check_server_settings() {
  local others file addresses few text named listening=localhost
  few=$(too_few_connections)
  [[ -z $few ]] || problem "PostgreSQL allows $few connections; for its workers the service needs $connections"
  others=$(neighbours)
  file=$(settings_file)
  text=$(content_of "$file")
  if [[ -n $others ]]; then
    [[ $text != *listen_addresses* ]] || problem "$file sets listen_addresses for other databases too (${others//$'\n'/, })"
    return
  fi
  named=$(names_address "$text")
  [[ -z $named ]] || listening=$database_address
  text=$(server_settings "$listening")
  check_file "$file" postgres:postgres 0644 "$text"
  addresses=$(listen_addresses)
  [[ $addresses == "$listening" ]] || problem "PostgreSQL listens on '$addresses', not on $listening"
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

# Connections that our file allows stay when others come: they use them too.
write_settings_file() {
  local others file address text rest
  others=$(neighbours)
  file=$(settings_file)
  if [[ -z $others ]]; then
    address=$(listening_address)
    text=$(server_settings "$address")
    write_file "$file" postgres:postgres 0644 "$text"
  else
    text=$(content_of "$file")
    rest=$(sed '/^listen_addresses/d' <<<"$text")
    [[ $rest != "$text" ]] || return 0
    say "PostgreSQL holds other databases too (${others//$'\n'/, }), so $file no longer sets listen_addresses: after PostgreSQL's next restart, their own files decide on it"
    if [[ $rest == *max_connections* ]]; then
      write_file "$file" postgres:postgres 0644 "$rest"
    else
      rm "$file"
    fi
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

# What PostgreSQL reads when it starts.
enforce_settings() {
  local others addresses address few unit
  others=$(neighbours)
  few=$(too_few_connections)
  if [[ -n $others ]]; then
    [[ -z $few ]] || fail "PostgreSQL allows $few connections; for its workers the service needs $connections. It holds other databases too (${others//$'\n'/, }), so it is not changed: set max_connections to what they need and $connections more, or service.workers to 8 at the most, then run again"
    return 0
  fi
  addresses=$(listen_addresses)
  address=$(listening_address)
  [[ $addresses != "$address" || -n $few ]] || return 0
  require_setting listen_addresses "setting = '$address'"
  [[ -z $few ]] || require_setting max_connections "setting::int >= $connections"
  unit=$(cluster_unit)
  say "restarting PostgreSQL, so that it listens on $address only${few:+ and allows $connections connections}"
  logged "restarting $unit" systemctl restart "$unit"
}

# require_setting NAME CONDITION: where another file than ours decides, and otherwise, a restart would change nothing.
require_setting() {
  local last winner value right
  last=$(sql postgres <<<"select sourcefile, setting, $2 from pg_file_settings where name = '$1' order by seqno desc limit 1")
  [[ -n $last ]] || fail "PostgreSQL does not read conf.d/mlflow-vps.conf beside its postgresql.conf: add the line \"include_dir = 'conf.d'\" there, then run again"
  IFS='|' read -r winner value right <<<"$last"
  [[ $right == t ]] || fail "PostgreSQL's $1 is '$value', as set in $winner: remove it there, then run again"
}
