# shellcheck shell=bash
# shellcheck disable=SC2154 # the values and the library stand before this text
# Distribution packages. They stay when the server is removed: others may use them, and PostgreSQL holds the data.

missing() {
  local package
  for package in "${packages[@]}"; do
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
      printf '%s\n' "$package"
  done
}

check() {
  local package
  for package in $(missing); do
    problem "package $package is not installed"
  done
}

# apt ARGUMENT...: apt-get that waits, and says so, while another program holds apt's locks (10 minutes at most).
apt() {
  local output holder said='' deadline=$((SECONDS + 600))
  while true; do
    if output=$(apt-get --quiet --yes -o Acquire::Retries=3 "$@" 2>&1); then
      printf '%s\n' "$output" >>"$log_file"
      return 0
    fi
    printf '%s\n' "$output" >>"$log_file"
    holder=$(sed -n 's/.*[Cc]ould not get lock \([^ ]*\)\. It is held by process \([0-9]* ([^)]*)\).*/process \2 holds \1/p' <<<"$output" | head -n 1)
    [[ -n $holder ]] || [[ $output == *'Could not get lock'* ]] || return 1
    ((SECONDS < deadline)) || fail "waited 10 minutes for apt: ${holder:-another program holds its lock}; end it, then run again"
    [[ -n $said ]] || say "waiting for apt: ${holder:-another program holds its lock}"
    said=yes
    sleep 2 # between two tries; the lock itself is the condition
  done
}

# The package lists are fetched again when they are older than an hour.
lists_are_fresh() {
  # The files carry the mirror's times, their directory that of the last update.
  [[ -n $(find /var/lib/apt/lists -maxdepth 0 -mmin -60) && -n $(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -print -quit) ]]
}

install_missing() {
  local names
  mapfile -t names < <(missing)
  apt install --no-install-recommends -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "${names[@]}"
}

apply() {
  install -d -m 0750 "$log_directory"
  say "installing $(missing | paste -sd ' ')"
  lists_are_fresh || apt update || fail_apt "fetching the package lists"
  install_missing || {
    # A mirror may have moved on since the lists were made, and an installation may have been interrupted.
    say "once more, with fresh package lists"
    dpkg --configure --pending --force-confdef --force-confold >>"$log_file" 2>&1 || fail_apt "completing an interrupted installation (dpkg --configure -a)"
    apt update || fail_apt "fetching the package lists"
    install_missing || fail_apt "installing $(missing | paste -sd ' ')"
  }
}

fail_apt() {
  printf '%s: last lines of %s on the host:\n' "$step" "$log_file" >&2
  tail -n 15 "$log_file" | cut -c -400 >&2
  fail "$1: check the host's network and /etc/apt/sources.list, then run again"
}

remove() {
  say "packages stay installed: ${packages[*]}"
}
