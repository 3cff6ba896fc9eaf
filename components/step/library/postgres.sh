# shellcheck shell=bash
# --- PostgreSQL, as its superuser ----------------------------------------------------------------------------------

readonly dumps=/var/backups/mlflow-vps

# as_postgres COMMAND...: from a directory that its user may enter.
as_postgres() { as_user postgres env --chdir / "$@"; }

# client psql|pg_isready: the newest one. Debian's wrapper takes the same, but it is a Perl program that takes longer than
# the answer does; only where the cluster's socket is at another place is it needed, to find that.
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
  as_postgres PGOPTIONS='-c search_path=pg_catalog -c lock_timeout=10s' "$psql" --no-psqlrc --no-password --quiet --tuples-only --no-align \
    --port "$database_port" --set ON_ERROR_STOP=1 --dbname "$1"
}

# has_rows DATABASE QUERY
has_rows() {
  local rows
  rows=$(sql "$1" <<<"$2")
  [[ -z $rows ]] || echo yes
}

database_exists() { has_rows postgres "select 1 from pg_database where datname = '$1'"; }

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

# The unit of the cluster on our port, of several the one that runs; others are others'.
cluster_unit() {
  local clusters
  clusters=$(pg_lsclusters --no-header)
  awk -v port="$database_port" '
    $3 == port && (!unit || $4 ~ /^online/) { unit = "postgresql@" $1 "-" $2 ".service" }
    END { print unit }' <<<"$clusters"
}

start_database() {
  local answers cluster
  answers=$(database_answers)
  [[ -z $answers ]] || return 0
  cluster=$(cluster_unit)
  [[ -n $cluster ]] || fail "no PostgreSQL cluster has port $database_port: set database.port to that of one ('pg_lsclusters' on the host lists them), or make one ('pg_createcluster --help')"
  logged "starting PostgreSQL" systemctl enable --now "$cluster"
  wait_until 60 "PostgreSQL does not answer on port $database_port: see 'pg_lsclusters' and 'journalctl -u postgresql@*' on the host, or set database.port" database_answers
}

# check_room_for_copy DATABASE: names a lack of disk for a copy of it, what its migration may add, and a dump.
check_room_for_copy() {
  local bytes data where
  bytes=$(sql postgres <<<"select pg_database_size('$1')")
  data=$(sql postgres <<<'show data_directory')
  for where in "$data" "$dumps"; do check_room "$where" $((3 * bytes / 1024 / 1024 + 300)); done
}

# --- the scratch copy: a migration is rehearsed on it --------------------------------------------------------------

# One constant name, because pg_hba.conf names it; what is ours under that name carries the mark.
readonly scratch_database=mlflow_vps_rehearsal
readonly scratch_mark='mlflow-vps: a copy on which a migration is rehearsed'

# make_scratch ROLE: an empty database that the role owns, until this process ends.
make_scratch() {
  local foreign
  drop_scratch # of a run that was cut off
  foreign=$(database_exists "$scratch_database")
  [[ -z $foreign ]] ||
    fail "database $scratch_database, whose name is needed for a rehearsal, was not made by this program. Nothing was changed. Rename or drop it, then run again"
  at_exit drop_scratch
  sql postgres <<SQL
create database "$scratch_database" owner "$1" encoding 'UTF8' locale 'C.UTF-8' template template0;
comment on database "$scratch_database" is '$scratch_mark';
SQL
}

# copy_to_scratch DATABASE: everything of it as it is, whoever owns it, but for subscriptions: a database that has one
# cannot be dropped.
copy_to_scratch() {
  dump_database "$1" | as_postgres pg_restore --no-password --port "$database_port" --no-subscriptions --exit-on-error --dbname "$scratch_database"
}

# One that does not carry the mark stays.
drop_scratch() {
  sql postgres <<SQL
select format('drop database %I with (force)', datname) from pg_database
where datname = '$scratch_database' and shobj_description(oid, 'pg_database') = '$scratch_mark' \\gexec
SQL
}

dump_database() { as_postgres pg_dump --no-password --port "$database_port" --format custom "$1"; }

# keep_dump DATABASE CHANGE: dumps it before this change, under the name that it has with us; whole, or not at all. One
# that was made before the same change, by a run that failed, goes; the way back from an adoption never does.
keep_dump() {
  local now file status reason
  now=$(date --utc +%Y%m%dT%H%M%SZ)
  file=$dumps/$database-$now-before-$2.dump
  rm -f "$dumps"/*.partial # of a run that was cut off
  at_exit rm -f "$file.partial"
  say "dumping the database to $file"
  install -d -m 0750 "$log_directory"
  attempt write_dump "$1" "$file" 2>>"$log_file"
  if ((status != 0)); then
    reason=$(tail -n 2 "$log_file")
    fail "the database could not be dumped, so it was left as it is: $reason"
  fi
  [[ $2 == adoption ]] || find "$dumps" -name "$database-????????T??????Z-before-$2.dump" ! -path "$file" -delete
}

write_dump() {
  trap - ERR # the log ends with what pg_dump said
  install -d -m 0700 "$dumps"
  umask 077
  dump_database "$1" >"$2.partial"
  sync "$2.partial"
  mv "$2.partial" "$2"
}
