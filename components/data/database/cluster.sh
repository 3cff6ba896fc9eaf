# shellcheck shell=bash
# What PostgreSQL says of itself, of the role and of the database.

# Each question with its statement, of one line. The neighbours are databases of others in our cluster.
declare -rA statements=(
  [config_file]='show config_file'
  [access_file]='show hba_file'
  [listen_addresses]='show listen_addresses'
  [max_connections]='show max_connections'
  [neighbours]="select datname from pg_database where datname not in ('postgres', 'template0', 'template1', '$database', '$scratch_database') order by 1"
  [rights]="select rolcanlogin and not rolsuper and not rolcreaterole and not rolcreatedb from pg_roles where rolname = '$role'"
  [owner]="select pg_get_userbyid(datdba) from pg_database where datname = '$database'"
)
declare -A remembered=() # what 'ask_all' was told

# ask QUESTION
ask() {
  if [[ -n ${remembered[$1]+yes} ]]; then
    printf '%s\n' "${remembered[$1]}"
  else
    sql postgres <<<"${statements[$1]}"
  fi
}

# Asks all of them at once, for a check, during which the answers count as they are now. Where there are none, $refusal says
# why.
ask_all() {
  local question text='' line answered
  for question in "${!statements[@]}"; do
    text+="\\echo answer $question"$'\n'"${statements[$question]};"$'\n'
  done
  try_sql "$text"
  [[ -z $refusal ]] || return 0
  while read -r line; do
    if [[ $line == 'answer '* ]]; then
      question=${line#answer }
      remembered[$question]=
    else
      remembered[$question]+=${remembered[$question]:+$'\n'}$line
    fi
  done <<<"$answered"
}
