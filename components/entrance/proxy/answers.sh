# shellcheck shell=bash
# What nginx answers to requests.

# answer_to [USER PASSWORD]: HTTP status of an API request through nginx, with these credentials; 000 when there is no
# answer. With TLS, only the certificate in the file is accepted.
answer_to() {
  local answer code=0 credentials=
  [[ $# == 0 ]] || printf -v credentials 'user = "%s:%s"' "$1" "$2"
  answer=$(curl --silent --noproxy '*' --max-time 20 --config - --output /dev/null --write-out '%{http_code}' \
    --connect-to "::127.0.0.1:$port" --cacert "$certificate_file" \
    --header 'Content-Type: application/json' --data '{"max_results": 1}' \
    "$uri/api/2.0/mlflow/experiments/search" <<<"$credentials") || code=$?
  [[ $answer =~ ^[0-9]{3}$ ]] || fail "curl exited $code without an answer"
  echo "$answer"
}

check_answers() {
  local user answer
  answer=$(answer_to)
  [[ $answer == 401 ]] || problem "a request without a password is answered with $answer, not with 401"
  for user in "${!users[@]}"; do
    answer=$(answer_to "$user" "${users[$user]}")
    [[ $answer == 200 ]] || problem "a request of user $user is answered with $answer, not with 200"
  done
}
