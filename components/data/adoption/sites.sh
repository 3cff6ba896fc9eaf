# shellcheck shell=bash
# Sites of nginx that lead to the server.

# sites_to PORT: sites of nginx that lead there, but for ours: 'FILE<tab>WHAT ELSE IT SERVES' (see sites.py).
sites_to() { python3 -c "$site_reader" "$1" "$site_link"; }

# nginx reads every file in these directories: one that is no link is kept beside the other sites that are off.
disable_sites() {
  local sites site others
  sites=$(sites_to "$old_port")
  while IFS=$'\t' read -r site others; do
    [[ -n $site ]] || continue
    [[ -z $others ]] || fail "the site $site serves other programs too: move those to a site of their own ($others), then run again"
    say "disabling the site $site"
    if [[ -L $site ]]; then rm "$site"; else mv --backup=numbered "$site" /etc/nginx/sites-available/; fi
  done <<<"$sites"
  reload_nginx /etc/nginx/sites-enabled /etc/nginx/conf.d # what was taken away shows in the directory
}
