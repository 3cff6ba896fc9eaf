# shellcheck shell=bash
# What else nginx's configuration says, and keeps requests from our site.

# obstacles: what does, a line for each with its file and the remedy. nginx must accept its configuration.
obstacles() {
  local nameless=
  check_loaded
  # Clients name no address before they get a certificate.
  [[ ! $uri =~ ^https://[0-9.]+(:|$) ]] || nameless='*'
  [[ $uri != https://\[* ]] || nameless='[::]'
  python3 -c "$rivals" "$site_link" "$site_file" "${names[*]}" "$port ${http_port:-}" "$nameless"
}

# check_loaded: whether our site is part of what nginx loads. What is to be included has a wildcard: without, nginx would reject
# all of its configuration while our site is not there.
check_loaded() {
  local configuration file
  configuration=$(nginx -T -q 2>/dev/null)
  for file in "$site_link" "$site_file"; do
    [[ $'\n'$configuration$'\n' != *$'\n'"# configuration file $file:"$'\n'* ]] || return 0
  done
  problem "nginx does not load $site_link: add 'include $site_link*;' to the http block of /etc/nginx/nginx.conf"
}
