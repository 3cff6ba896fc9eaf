# shellcheck shell=bash
# What a server was told: its unit, its environment, its command.

# settings_of UNIT: one NAME=VALUE per line: those of its unit's environment, then what its command sets: variables, and
# the options by their names.
settings_of() {
  local environment files command
  environment=$(unit_property "$1" Environment)
  files=$(unit_property "$1" EnvironmentFiles)
  command=$(command_of "$1")
  tr -d "\"'" <<<"$environment" | sed -E 's/ ([A-Za-z_][A-Za-z0-9_]*=)/\n\1/g'
  sed -n 's/ (ignore_errors=.*//p' <<<"$files" | settings_in_files
  sed -E 's/ -h[ =]/ --host=/g; s/ -p[ =]/ --port=/g; s/ (--[a-z-]+) ([^- ])/ \1=\2/g' <<<"$command" | tr ' ' '\n' |
    sed -n '/^\(--[a-z-]*\|[A-Za-z_][A-Za-z0-9_]*\)=/p'
}

# settings_in_files: of the environment files that stdin names, a pattern on each line.
settings_in_files() {
  local pattern file
  local IFS= # blanks belong to the name
  while read -r pattern; do
    for file in $pattern; do
      [[ ! -e $file ]] || sed -n "s/^[[:space:]]*\([A-Za-z_][A-Za-z0-9_]*\)=[\"']\?\([^\"']*\).*/\1=\2/p" "$file"
    done
  done
}

# last_value SETTINGS NAME
last_value() { sed -n "s/^$2=//p" <<<"$1" | tail -n 1; }

# setting SETTINGS OPTION VARIABLE: the option's value, or else the variable's. Variables in it stand for their values.
setting() {
  local value done='' variable
  value=$(last_value "$1" "--$2")
  [[ -n $value ]] || value=$(last_value "$1" "$3")
  while [[ $value =~ ^([^$]*)\$(\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))(.*)$ ]]; do
    done+=${BASH_REMATCH[1]}
    value=${BASH_REMATCH[5]}
    variable=$(last_value "$1" "${BASH_REMATCH[3]}${BASH_REMATCH[4]}")
    done+=$variable
  done
  printf '%s' "$done$value"
}

# database_of UNIT: the name of its database in the PostgreSQL that is ours too; nothing when its data are elsewhere. What
# its URI leaves out, PostgreSQL's client takes from variables.
database_of() {
  local settings uri host port query name
  settings=$(settings_of "$1")
  uri=$(setting "$settings" backend-store-uri MLFLOW_BACKEND_STORE_URI)
  [[ $uri =~ ^postgres(ql)?(\+[a-z0-9]+)?://(.*@)?([A-Za-z0-9_.-]*|\[[0-9a-f:]*\])(:([0-9]+))?/([A-Za-z0-9_-]+)(\?[^@]*)?$ ]] || return 0
  host=${BASH_REMATCH[4]} port=${BASH_REMATCH[6]} name=${BASH_REMATCH[7]} query=${BASH_REMATCH[8]}
  [[ ! $query =~ [?\&](host=[^/]|(hostaddr|port|service|dbname)=) ]] || return 0
  [[ -n $host || $query == *[?\&]host=* ]] || host=$(last_value "$settings" PGHOST)
  [[ -n $port ]] || port=$(last_value "$settings" PGPORT)
  case $host in '' | localhost | 127.0.0.1 | '[::1]' | /*) ;; *) return 0 ;; esac
  [[ ${port:-5432} == "$database_port" && ! $settings =~ (^|$'\n')PG(HOSTADDR|SERVICE)= ]] || return 0
  printf '%s' "$name"
}
