# shellcheck shell=bash
# Distribution packages. They stay when the server is removed: others may use them, and PostgreSQL holds the data.

# The packages that are not installed, one a line.
missing() {
  local package states code=0
  # shellcheck disable=SC2016 # fields of dpkg
  states=$(dpkg-query --show --showformat='${Package} ${db:Status-Status}\n' "${packages[@]}" 2>&1) || code=$?
  # 1: it does not know one of them, and has named the others.
  ((code <= 1)) || fail "dpkg-query exited $code: $states"
  for package in "${packages[@]}"; do
    [[ $'\n'$states$'\n' == *$'\n'"$package installed"$'\n'* ]] || printf '%s\n' "$package"
  done
}

check() {
  local package names held
  names=$(missing)
  for package in $names; do
    problem "package $package is not installed"
  done
  held=$(nginx_is_held)
  [[ -z $held ]] || problem "an installation that was interrupted has masked nginx"
}

readonly nginx_hold=$run_directory/nginx-hold # beside a mask of ours, which ends with the boot as it does

# nginx_is_held: whether one of these packages is nginx, and we have masked it.
nginx_is_held() { [[ " ${packages[*]} " != *' nginx '* || ! -e $nginx_hold ]] || echo yes; }

# hold_nginx NAMES: its package starts it, with the distribution's site. Where that cannot be (no IPv6, port 80 taken), the
# package would be left installed in part; where it can, it would show that site to everybody. So it is ours to start, once
# our site is there. One that runs is left to its package, which restarts it after an update.
hold_nginx() {
  local active state
  [[ " ${packages[*]} " == *' nginx '* ]] || return 0
  active=$(is_active nginx.service)
  state=$(unit_property nginx.service UnitFileState)
  [[ -z $active && $state != masked* ]] || return 0
  at_exit release_nginx
  install -d -m 0755 "$run_directory"
  if [[ $'\n'$1$'\n' == *$'\nnginx\n'* ]]; then echo new; else echo old; fi >"$nginx_hold"
  logged "masking nginx while its package is installed" systemctl mask --runtime nginx.service
}

# release_nginx: until the proxy step enables it, a new one does not start at boot either.
release_nginx() {
  local held was state
  held=$(nginx_is_held)
  [[ -n $held ]] || return 0
  was=$(<"$nginx_hold")
  logged "unmasking nginx" systemctl unmask --runtime nginx.service
  state=$(unit_property nginx.service UnitFileState)
  [[ $was == old || -z $state ]] || logged "disabling nginx" systemctl disable nginx.service
  rm "$nginx_hold"
}

# who_locks: what apt or dpkg say on stdin of a lock that another program holds; nothing when that is not the problem.
who_locks() {
  sed -n -e 's/.*[Cc]ould not get lock \([^ ]*\)\. It is held by process \([0-9]* ([^)]*)\).*/process \2 holds \1/p' \
    -e 's/.*[Cc]ould not get lock.*/another program holds its lock/p' \
    -e 's/.* \(dpkg .*lock\) was locked by another process with pid \([0-9]*\).*/process \2 holds the \1/p' \
    -e 's/.*is locked by another process.*/another program holds its lock/p' | sed -n 1p
}

# unlocked COMMAND...: runs apt or dpkg with its output in the log, and again while another program holds their locks (10
# minutes at most); $status is its exit code.
unlocked() {
  local begin holder said='' deadline=$((SECONDS + 600))
  while true; do
    begin=$(stat -c %s "$log_file")
    attempt "$@" >>"$log_file" 2>&1
    ((status != 0)) || return 0
    holder=$(tail -c "+$((begin + 1))" "$log_file" | who_locks)
    [[ -n $holder ]] || return 0
    ((SECONDS < deadline)) ||
      fail "apt is still busy after 10 minutes: $holder; nothing was changed in that time; run again when it has finished"
    [[ -n $said ]] || say "waiting for apt: $holder"
    said=yes
    sleep 2 # between two tries; the lock itself is the condition
  done
}

apt() { unlocked apt-get --quiet --yes -o Acquire::Retries=3 "$@"; }

# Whether the package lists were fetched within the last hour.
lists_are_fresh() {
  local recent lists
  [[ -d /var/lib/apt/lists ]] || return 0 # images are made small by deleting it
  # The files carry the mirror's times, their directory that of the last update.
  recent=$(find /var/lib/apt/lists -maxdepth 0 -mmin -60)
  lists=$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -print -quit)
  [[ -z $recent || -z $lists ]] || echo yes
}

# fetch_lists: a source that cannot be read is no failure where the packages are to be had from others: what apt says of it
# is left in 'unread', a line for each. Where it expects that to pass, it only warns.
fetch_lists() {
  local begin status said='s/^W: \(Failed to fetch .*\)/\1/p'
  begin=$(stat -c %s "$log_file")
  apt update
  ((status == 0)) || said+='; s/^E: //p'
  unread=$(tail -c "+$((begin + 1))" "$log_file" | sed -n "$said" | sort --unique)
  ((status == 0)) || unread=${unread:-"apt-get update exited $status"}
}

# Leaves its exit code in $status.
install_missing() {
  local names
  names=$(missing)
  # shellcheck disable=SC2086 # one word each
  apt install --no-install-recommends -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold $names
}

# An installation may have been interrupted; packages of others, too, in which case this may fail.
complete_installations() {
  local status
  unlocked dpkg --configure --pending --force-confdef --force-confold
}

# broken_packages: those of others that are installed in part: 'NAME (STATE), ...'.
broken_packages() {
  local states name state all=''
  # shellcheck disable=SC2016 # fields of dpkg
  states=$(dpkg-query --show --showformat='${Package} ${db:Status-Status}\n')
  while read -r name state; do
    case $state in
      half-installed | half-configured | unpacked)
        [[ " ${packages[*]} " == *" $name "* ]] || all+="${all:+, }$name ($state)"
        ;;
    esac
  done <<<"$states"
  echo "$all"
}

# tell_troubles: what is wrong with the packages and the sources of others.
tell_troubles() {
  local broken
  broken=$(broken_packages)
  [[ -z $broken ]] ||
    say "WARNING: other packages of the host are installed in part: $broken; 'dpkg --configure -a' or 'apt-get --fix-broken install' on the host mends them or says why not"
  [[ -z $unread ]] ||
    say "WARNING: apt cannot read all of its sources: ${unread//$'\n'/ }; fix or remove them in /etc/apt/sources.list or /etc/apt/sources.list.d on the host"
}

# cloud_init_runs: whether it still sets the host up, sources and packages too.
cloud_init_runs() {
  local state
  command -v cloud-init >/dev/null || return 0
  state=$(cloud-init status 2>&1 || true) # it also fails where cloud-init has ended with an error
  [[ $state != *'status: running'* ]] || echo yes
}

await_cloud_init() {
  local runs told='' deadline=$((SECONDS + 300))
  while true; do
    runs=$(cloud_init_runs)
    [[ -n $runs ]] || return 0
    if ((SECONDS >= deadline)); then
      say "WARNING: cloud-init is still at work after 5 minutes ('cloud-init status --long' on the host shows at what); going on without"
      return
    fi
    [[ -n $told ]] || say "waiting for cloud-init, which is still setting the host up, at most 5 minutes"
    told=yes
    sleep 1 # between two looks; cloud-init's own state is the condition
  done
}

apply() {
  local names
  install -d -m 0750 "$log_directory"
  : >>"$log_file"
  await_cloud_init
  names=$(missing)
  if [[ -n $names ]]; then
    hold_nginx "$names"
    install_packages "$names"
  fi
  release_nginx
}

# install_packages NAMES
install_packages() {
  local fresh status unread='' left
  say "installing ${1//$'\n'/ }"
  fresh=$(lists_are_fresh)
  [[ -n $fresh ]] || fetch_lists
  install_missing
  left=$(missing)
  if ((status != 0)) && [[ -n $left ]]; then
    # A mirror may have moved on since the lists were made.
    say "retrying with fresh package lists"
    complete_installations
    fetch_lists
    install_missing
    left=$(missing)
  fi
  tell_troubles
  # Where ours are there, what failed were others.
  ((status == 0)) || [[ -z $left ]] || fail_with_log "installing ${left//$'\n'/ }"
}

remove() {
  say "packages stay installed: ${packages[*]}"
}
