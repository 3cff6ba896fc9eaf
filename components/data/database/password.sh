# shellcheck shell=bash
# The role's password, and the file from which the server reads it.

# login_refusal: what PostgreSQL says against the role's login; nothing when it works. It logs in the way the server does:
# over TCP, with the password from the file that the server reads.
login_refusal() {
  local psql output code=0
  psql=$(client psql)
  output=$(PGPASSFILE=$password_file PGCONNECT_TIMEOUT=5 "$psql" --no-psqlrc --no-password --host "$database_address" --port "$database_port" \
    --username "$role" --dbname "$database" --command 'select 1' 2>&1 </dev/null) || code=$?
  ((code == 0)) || head -n 1 <<<"${output:-psql exited $code}"
}

# The SCRAM verifier of the password, so that PostgreSQL never sees (or logs) the password itself. RFC 5803.
verifier() {
  # shellcheck disable=SC2016 # the dollars are Python's
  printf '%s' "$password" | python3 -c '
import base64, hashlib, hmac, os, sys
password, salt, rounds = sys.stdin.buffer.read(), os.urandom(16), 4096
salted = hashlib.pbkdf2_hmac("sha256", password, salt, rounds)
stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
server = hmac.digest(salted, b"Server Key", "sha256")
text = lambda data: base64.b64encode(data).decode()
print(f"SCRAM-SHA-256${rounds}:{text(salt)}${text(stored)}:{text(server)}")'
}

# has_answered PROCESS FILE: whether this psql has said 'ready', or has ended.
has_answered() {
  local ended=yes ready
  [[ ! -e /proc/$1 ]] || ended=
  ready=$(found --line-regexp ready "$2")
  [[ -z $ended$ready ]] || echo yes
}

# A login reads the password from the file and is compared with the role's, so both change within milliseconds: what is
# slow, and what may fail, is done before, in a transaction that is still open. It is undone when this process ends.
set_password() {
  local hash talk=$run_directory/password session ready answers status=0
  hash=$(verifier)
  rm -rf "$talk" # of a run that was killed
  install -d -m 0700 "$talk"
  at_exit rm -rf "$talk" "$password_file.new"
  write_file "$password_file.new" "$account:$account" 0600 "$password_line"
  mkfifo "$talk/statements"
  : >"$talk/answers"
  {
    trap - ERR # what PostgreSQL says is shown below
    sql postgres
  } <"$talk/statements" >"$talk/answers" 2>&1 &
  session=$!
  exec 7<>"$talk/statements"
  printf '%s\n' "set synchronous_commit = off; set statement_timeout = '20s';" 'begin;' "alter role \"$role\" password '$hash';" "select 'ready';" >&7
  wait_until 30 "PostgreSQL did not accept the new password of role $role within 30 s" has_answered "$session" "$talk/answers"
  ready=$(found --line-regexp ready "$talk/answers")
  answers=$(<"$talk/answers")
  [[ -n $ready ]] || fail "PostgreSQL did not accept the new password of role $role, the old one stays valid: $answers"
  mv -f "$password_file.new" "$password_file"
  echo 'commit;' >&7
  exec 7>&-
  wait "$session" || status=$?
  answers=$(<"$talk/answers")
  ((status == 0)) || fail "PostgreSQL did not accept the new password of role $role: $answers. Run again"
  exit_command_now
}
