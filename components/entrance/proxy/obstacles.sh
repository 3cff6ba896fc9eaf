# shellcheck shell=bash
# What else nginx's configuration says, and keeps requests from our site.

# obstacles: what does, a line for each with its file and the remedy. nginx must accept its configuration.
obstacles() {
  local configuration host=${uri#*://} nameless=
  configuration=$(nginx -T -q 2>/dev/null)
  check_loaded "$configuration"
  # Clients name no address before they get a certificate.
  [[ $uri != https:* || ! $host =~ ^(\[|[0-9.]+(:|$)) ]] || nameless=$port
  python3 -c "$rivals" "$site_link" "$site_file" "${names[*]}" "$port ${http_port:-}" "$nameless" <<<"$configuration"
}

# check_loaded CONFIGURATION: whether our site is part of it.
check_loaded() {
  local file
  for file in "$site_link" "$site_file"; do
    [[ $'\n'$1$'\n' != *$'\n'"# configuration file $file:"$'\n'* ]] || return 0
  done
  problem "nginx does not load $site_link: add 'include $site_link;' to the http block of /etc/nginx/nginx.conf"
}
