# shellcheck shell=bash
# MLflow servers that this program does not manage.

# command_of UNIT: the command that it starts, without quotes.
command_of() {
  local command
  command=$(unit_property "$1" ExecStart)
  sed -n 's/.* argv\[\]=\(.*\) ; ignore_errors=.*/\1/p' <<<"$command" | tr -d "'\""
}

# unmanaged_servers: units that start an MLflow server and are not ours. What a link leads to is named once, by
# its own name; a template runs nothing.
unmanaged_servers() {
  local file text command name
  local -A seen=()
  for file in /etc/systemd/system/*.service; do
    [[ -f $file && $file != *@.service ]] || continue # a masked one is no file
    text=$(as_root cat "$file") # preflight has no privileges, and a unit may hold secrets
    [[ $text == *mlflow* && ${text%%$'\n'*} != "$managed" ]] || continue
    command=$(command_of "${file##*/}")
    [[ "$command " =~ (^|[/ ])mlflow\ server\  ]] || continue
    name=$(unit_property "${file##*/}" Id)
    [[ -n ${seen[$name]:-} ]] || printf '%s\n' "$name"
    seen[$name]=yes
  done
}
