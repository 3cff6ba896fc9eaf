# shellcheck shell=bash
# Another password of the user. nginx reads the file anew with each request.
: "${password:?}"

htpasswd -i /etc/nginx/.htpasswd mlflow <<<"$password"
