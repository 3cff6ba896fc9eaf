# shellcheck shell=bash
# PostgreSQL, as its superuser.

# as_postgres COMMAND...: from a directory that its user may enter. The packages give user and group the same name.
as_postgres() (
  cd /
  exec setpriv --reuid postgres --regid postgres --init-groups -- "$@"
)

# client psql|pg_isready: the newest one. Debian's wrapper starts the same, but is a Perl program that takes longer than
# the query; it is only needed to find a cluster's socket that is elsewhere.
client() {
  local chosen=$1 newest=0 candidate major
  if [[ -S /var/run/postgresql/.s.PGSQL.$database_port ]]; then
    for candidate in /usr/lib/postgresql/*/bin/"$1"; do
      major=${candidate%/bin/*}
      major=${major##*/}
      major=${major%%.*}
      if [[ -x $candidate ]] && ((major > newest)); then
        newest=$major
        chosen=$candidate
      fi
    done
  fi
  echo "$chosen"
}

# sql DATABASE: runs the statements on stdin; prints bare values, and fails when there is no answer. The search path is
# PostgreSQL's own, for a superuser runs no function that the owner of a schema has put under a known name; what waits for
# a lock gives up with PostgreSQL's own error. A host is not named: then Debian's wrapper of pg_dump and pg_restore takes
# the programs of the very cluster that has the port.
sql() {
  local psql
  psql=$(client psql)
  PGOPTIONS='-c search_path=pg_catalog -c lock_timeout=10s' as_postgres "$psql" --no-psqlrc --no-password --quiet --tuples-only --no-align \
    --port "$database_port" --set ON_ERROR_STOP=1 --dbname "$1"
}

# has_rows DATABASE QUERY
has_rows() {
  local rows
  rows=$(sql "$1" <<<"$2")
  [[ -z $rows ]] || echo yes
}

# try_sql STATEMENTS: sets what PostgreSQL has answered; where it has not, $refusal says why.
try_sql() {
  local code=0
  # shellcheck disable=SC2310 # what fails in it before its last command, fails that one too
  answered=$(sql postgres <<<"$1" 2>&1) || code=$?
  refusal=''
  ((code == 0)) || refusal=${answered:-psql exited $code}
}

# superuser_refusal: what PostgreSQL says against its superuser, who logs in as its system user; nothing when it lets him in.
superuser_refusal() {
  local answered refusal
  try_sql 'select 1'
  printf '%s' "$refusal"
}

require_superuser() {
  local refusal its_unit cluster remedy
  refusal=$(superuser_refusal)
  [[ -n $refusal ]] || return 0
  refusal=${refusal//$'\n'/ }
  case $refusal in
    *password* | *authentication* | *pg_hba*) ;;
    *) fail "PostgreSQL on port $database_port does not answer its superuser: $refusal" ;;
  esac
  remedy="put the line 'local all postgres peer' first in its pg_hba.conf and reload it"
  its_unit=$(cluster_unit)
  if [[ -n $its_unit ]]; then
    cluster=${its_unit#postgresql@}
    cluster=${cluster%.service}
    remedy="sed -i '1i local all postgres peer' /etc/postgresql/${cluster/-//}/pg_hba.conf && systemctl reload $its_unit"
  fi
  fail "PostgreSQL on port $database_port does not let its superuser in: $refusal. Let the system user postgres in without a password: $remedy; then run again"
}

database_exists() { has_rows postgres "select 1 from pg_database where datname = '$1'"; }

# sessions DATABASE: who uses it, but for PostgreSQL itself.
sessions() {
  sql postgres <<<"select distinct coalesce(usename, backend_type) || ' (' || coalesce(nullif(application_name, ''), 'pid ' || pid) || ')'
    from pg_stat_activity where datname = '$1' and backend_type <> 'autovacuum worker' order by 1"
}

# Whether it takes connections.
database_answers() {
  local code=0 pg_isready
  pg_isready=$(client pg_isready)
  command -v "$pg_isready" >/dev/null || return 0 # it is not installed
  "$pg_isready" --quiet --port "$database_port" || code=$?
  case $code in
    0) echo yes ;;
    1 | 2) ;; # it is starting, or there is none
    *) fail "pg_isready exited $code" ;;
  esac
}

# The unit of the cluster on our port; of several, the one that is running.
cluster_unit() {
  local clusters
  clusters=$(pg_lsclusters --no-header)
  awk -v port="$database_port" '
    $3 == port && (!unit || $4 ~ /^online/) { unit = "postgresql@" $1 "-" $2 ".service" }
    END { print unit }' <<<"$clusters"
}

start_database() {
  local answers cluster status code=0
  answers=$(database_answers)
  if [[ -n $answers ]]; then
    require_superuser
    return
  fi
  cluster=$(cluster_unit)
  [[ -n $cluster ]] || fail "no PostgreSQL cluster has port $database_port: set database.port to that of one ('pg_lsclusters' on the host lists them), or make one ('pg_createcluster --help')"
  attempt logged "starting PostgreSQL" systemctl enable --now "$cluster"
  if ((status != 0)); then
    getent ahosts localhost >/dev/null || code=$?
    ((code == 0)) || fail "this host does not know localhost, where PostgreSQL listens: add the line '127.0.0.1 localhost' to /etc/hosts, then run again"
    exit 1
  fi
  wait_until 60 "PostgreSQL does not answer on port $database_port: see 'pg_lsclusters' and 'journalctl -u postgresql@*' on the host, or set database.port" database_answers
  require_superuser
}

# dump_database DATABASE [OPTION...]
dump_database() { as_postgres pg_dump --no-password --port "$database_port" --format custom "${@:2}" "$1"; }
