# shellcheck shell=bash disable=SC2030,SC2031 # a layer in the making has a guest of its own, in a subshell
# The disks of the guests, a part of vps.sh. A disk is a stack of read-only layers, which all guests share, under an upper
# directory of the guest's own (overlayfs). Each layer is made once, by what it is for:
#
#   base      debootstrap's minimal Debian of a suite
#   bare      a provider's image: the sudo user, the authorities that this machine trusts
#   packaged  the packages and the release of MLflow, as the program's own steps install them
#   served    the program applied, and what is one server's own taken away again: service, proxy, certificate
#
# A layer is named by a digest of all that makes it, so one of an older source is never met. $layer/disk holds its files,
# $layer/state what the program noted down, $layer/stack the directories of this layer and of those below it, top first,
# $layers_dir/guests the folders of the guests that stand on layers.

: "${project_root:?} ${sandbox_dir:?} ${cache_dir:?} ${login_user:?} ${cache_authority:?}" # of vps.sh and cache.sh
layers_dir=$cache_dir/layers
readonly kept_layers=2 # of each kind and suite: two versions of the source at work do not take turns

# --- mounts --------------------------------------------------------------------------------------------------------

is_mounted() {
  local code=0
  mountpoint -q "$1" || code=$?
  [[ $code == 0 || $code == 1 || $code == 32 ]] || die "mountpoint $1 exited $code"
  [[ $code != 0 ]] || echo yes
}

# mount_disk STACK DISK ROOT: mounts the layers (a list joined by colons) under DISK/upper on ROOT. 'volatile' never waits
# for the machine's disk: what a guest writes survives its own end, and not a crash of the machine.
mount_disk() {
  local message mounted
  [[ $1$2 != *[,\\]* && $2 != *:* ]] || die "overlayfs takes no comma, colon or backslash in a path: $2"
  mounted=$(is_mounted "$3")
  [[ -z $mounted ]] || return 0
  mkdir -p "$2/upper" "$2/kernel" "$3"
  rm -rf "$2"/kernel/*/incompat # by which the kernel marks a volatile disk in use, or one that the machine took along
  message=$(mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/kernel,redirect_dir=on,volatile" "$3" 2>&1) ||
    die "cannot mount an overlay on $3: $message. It needs an ordinary file system (ext4, xfs): put the guests on one with MLFLOW_VPS_SANDBOX=DIRECTORY"
}

unmount_disk() {
  local mounted
  mounted=$(is_mounted "$1")
  [[ -z $mounted ]] || umount "$1" || die "cannot unmount $1: see 'fuser -vm $1'"
}

# --- the base image ------------------------------------------------------------------------------------------------

make_base() {
  local suite=$1 base=$cache_dir/$1 new log mirror
  if [[ ! -e $base/.id ]]; then
    mkdir -p "$cache_dir"
    exec 7>"$cache_dir/$suite.lock"
    if ! flock -n 7; then
      say "waiting for another run that makes the base image $suite"
      flock -w 900 7 || die "the base image $suite was not made in 15 minutes by the run that holds $cache_dir/$suite.lock"
    fi
    if [[ ! -e $base/.id ]]; then
      say "making the base image $suite (once, about a minute)"
      # Left-overs of an interrupted run: nobody else works here while we hold the lock.
      remove_tree "$base.new"
      remove_tree "$base" # of an earlier version of this script
      new=$base.new log=$cache_dir/$suite.log
      if ! debootstrap --variant=minbase \
        --include=systemd,systemd-sysv,dbus,openssh-server,sudo,ca-certificates,python3 \
        "$suite" "$new" >"$log" 2>&1 </dev/null 8>&- 9>&-; then
        tail -n 15 "$log" >&2
        die "debootstrap of $suite failed: see the lines above and $log"
      fi
      # debootstrap leaves its mirror, for the suite alone; a provider's image takes updates and security fixes too.
      mirror=$(awk '$1 == "deb" { print $2; exit }' "$new/etc/apt/sources.list")
      cat >"$new/etc/apt/sources.list" <<TEXT
deb $mirror $suite main
deb $mirror $suite-updates main
deb ${mirror%/}-security $suite-security main
TEXT
      forget_identity "$new"
      find "$new/var/lib/apt/lists" -type f -delete # debootstrap's, of the suite alone
      cat /proc/sys/kernel/random/uuid >"$new/.id" # other layers stand on this very image
      mv "$new" "$base"
    fi
    exec 7>&-
  fi
}

# What no image of a provider holds: host keys, an identity, package files, the times of the last runs of timers.
forget_identity() {
  rm -f "$1"/etc/ssh/ssh_host_* "$1"/var/cache/apt/archives/*.deb "$1"/var/cache/apt/*.bin "$1"/var/lib/systemd/timers/stamp-*
  rm -rf "$1"/var/log/journal/*
  : >"$1/etc/machine-id"
}

# --- layers --------------------------------------------------------------------------------------------------------

# Prints what a kind of layer is made of, for its digest. What makes 'bare' is in these files; the others also hold what
# the program is made of.
ingredients_of() (
  files=() program=(index.ts Pulumi.yaml package-lock.json config components/args.ts components/mlflowServer.ts components/schema components/server sandbox/engineless.ts)
  case $1 in
    bare)
      cat "$cache_dir/$suite/.id" "${BASH_SOURCE[0]}" "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}"
      [[ ! -e $cache_authority ]] || cat "$cache_authority"
      return
      ;;
    packaged) program+=(components/step components/host/packages components/tracking/release.ts components/tracking/runtime) ;;
    served) program+=(components) ;;
  esac
  printf '%s\n' "$mlflow_version"
  date --utc +%G-%V # the mirrors move on: a layer is of this week
  cd "$project_root" || die "cannot enter $project_root"
  shopt -s globstar nullglob
  for path in "${program[@]}"; do
    if [[ -d $path ]]; then files+=("$path"/**/*.*); else files+=("$path"); fi
  done
  sha256sum "${files[@]}"
)

default_mlflow() { sed -n '/^  mlflow\.version:/,/default:/s/.*default: //p' "$project_root/Pulumi.yaml"; }

# use_layer KIND: makes the layer and those below it where they are missing; $layer is where it is.
use_layer() {
  local kind=$1 below='' ingredients digest slot
  mlflow_version=${mlflow_version:-$(default_mlflow)}
  case $kind in
    bare) make_base "$suite" ;;
    packaged) below=bare ;;
    served) below=packaged ;;
  esac
  if [[ -n $below ]]; then
    use_layer "$below"
    below=$layer
  fi
  slot=$suite-$kind
  [[ $kind == bare ]] || slot+=-$mlflow_version
  ingredients=$(ingredients_of "$kind")
  digest=$(digest_of "$kind $below $ingredients")
  layer=$layers_dir/$slot-$digest
  mkdir -p "$layers_dir"
  exec 6>"$layer.lock"
  flock -n 6 || {
    say "waiting for another run that makes the layer ${layer##*/}"
    flock -w 900 6 || die "the layer ${layer##*/} was not made in 15 minutes by the run that holds $layer.lock"
  }
  if [[ ! -d $layer ]]; then
    make_layer "$kind" "$below"
    remove_stale_layers
  fi
  touch "$layer"
  exec 6>&-
}

# make_layer KIND BELOW: $layer, on the one below. In a subshell, for it has a guest of its own.
make_layer() (
  kind=$1 below=$2 building=$layer.new stack=$cache_dir/$suite
  name=layer dir=$building/guest
  say "making the layer ${layer##*/} (once)"
  # Left-overs of an interrupted run: nobody else works here while we hold the lock.
  discard_guest
  remove_tree "$building"
  mkdir -p "$building/disk" "$building/state" "$dir"
  printf 'config:\n  mlflow-vps:mlflow.version: %s\n' "$mlflow_version" >"$building/config.yaml"
  if [[ $kind == bare ]]; then
    mount_disk "$stack" "$dir/disk" "$dir/root"
    make_bare "$dir/root"
  else
    stack=$(<"$below/stack")
    make_keys
    make_disk "$stack" 2048
    boot
    "make_$kind" "$building/state" "$building/config.yaml" "$below/state"
    power_off
  fi
  forget_identity "$dir/root"
  unmount_disk "$dir/root"
  mv "$dir/disk/upper" "$building/disk/"
  printf '%s' "$layer/disk/upper:$stack" >"$building/stack"
  discard_guest
  sync --file-system "$building" # a layer stays, other than a guest's disk
  mv "$building" "$layer"
)

make_bare() {
  chroot "$1" /usr/sbin/useradd --create-home --shell /bin/bash --groups sudo "$login_user" </dev/null
  chroot "$1" /usr/bin/install -d -m 0700 -o "$login_user" -g "$login_user" "/home/$login_user/.ssh"
  printf '%s ALL=(ALL) NOPASSWD:ALL\n' "$login_user" >"$1/etc/sudoers.d/90-$login_user"
  chmod 0440 "$1/etc/sudoers.d/90-$login_user"
  printf 'PasswordAuthentication no\nPermitRootLogin no\n' >"$1/etc/ssh/sshd_config.d/10-sandbox.conf"
  printf 'LANG=C.UTF-8\n' >"$1/etc/default/locale"
  trust_the_hosts_authorities "$1"
}

# Where this machine trusts authorities that a stock Debian does not (a proxy that opens TLS), the guest has to trust them
# too, and the package cache in any case. As local certificates they survive update-ca-certificates and a reinstallation of ca-certificates.
trust_the_hosts_authorities() {
  local root=$1 bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt} target authorities
  target=$root/usr/local/share/ca-certificates
  mkdir -p "$target"
  trust_the_cache "$root"
  [[ ! -r $bundle ]] || awk -v target="$target" '
    /-----BEGIN CERTIFICATE-----/ { body = ""; inside = 1; next }
    /-----END CERTIFICATE-----/ {
      inside = 0
      if (FNR == NR) known[body] = 1
      else if (!(body in known)) {
        known[body] = 1
        file = target "/host-" ++n ".crt"
        print "-----BEGIN CERTIFICATE-----" > file
        for (i = 1; i <= length(body); i += 64) print substr(body, i, 64) > file
        print "-----END CERTIFICATE-----" > file
        close(file)
      }
      next
    }
    inside { gsub(/[ \r\t]/, ""); body = body $0 }' "$root/etc/ssl/certs/ca-certificates.crt" "$bundle"
  authorities=$(ls "$target")
  [[ -n $authorities ]] || return 0
  chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin update-ca-certificates >"$dir/ca.log" 2>&1 </dev/null ||
    die "update-ca-certificates failed in the guest: see $dir/ca.log"
  # pip and uv bring authorities of their own and have to be told.
  printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$root/etc/pip.conf"
  mkdir -p "$root/etc/uv"
  printf 'system-certs = true\n' >"$root/etc/uv/uv.toml"
}

# make_packaged and make_served STATE CONFIG STATE_BELOW

make_packaged() { run_program up "$1" "$2" --only packages-python,packages-servers,runtime; }

# The service starts once, so the database has its tables.
make_served() {
  run_program up "$1" "$2" --base "$3"
  run_program destroy "$1" "$2" --only proxy,service,certificate
  rm "$1/generated.json" "$1/outputs.json"
}

# run_program ACTION STATE CONFIG [ARGUMENT...]: the program, applied to this guest without an engine.
run_program() {
  local action=$1 state=$2 config=$3 log=$dir/program.log
  shift 3
  "$project_root/scripts/npmInstall.sh" >&2
  "$project_root/scripts/start.cjs" sandbox/engineless.ts "$action" --guest "$dir" --state "$state" \
    --config "$config" "$@" >"$log" 2>&1 </dev/null || {
    tail -n 30 "$log" >&2
    die "the program could not be applied to '$name': see the lines above and $log"
  }
}

# register_guest: while its folder is there, the layers that it stands on stay.
register_guest() {
  local number
  number=$(digest_of "$dir")
  mkdir -p "$layers_dir/guests"
  printf '%s' "$dir" >"$layers_dir/guests/$number"
}

# Every stack of layers that a guest or another layer has, one a line.
stacks_in_use() {
  local registered dir stack
  for registered in "$layers_dir"/guests/*; do
    [[ -e $registered ]] || continue
    dir=$(<"$registered")
    if [[ -e $dir/stack ]]; then
      cat "$dir/stack"
      echo
    elif [[ ! -d $dir ]]; then
      rm -f "$registered"
    fi
  done
  for stack in "$layers_dir"/*/stack; do
    [[ ! -e $stack ]] || cut -d : -f 2- "$stack" # what it stands on
  done
}

# Of each suite, kind and version those that were used last stay, and what something stands on.
remove_stale_layers() {
  local used found paths path slot
  local -A count=()
  used=$(stacks_in_use)
  found=$(find "$layers_dir" -mindepth 1 -maxdepth 1 -type d -name '*-*' ! -name '*.new' -printf '%T@ %p\n')
  paths=$(sort -rn <<<"$found")
  while read -r _ path; do # the last used first
    slot=${path%-*}
    count[$slot]=$((${count[$slot]:-0} + 1))
    if ((count[$slot] > kept_layers)) && [[ -n $path && $used != *"$path/"* ]]; then
      say "removing the layer ${path##*/}, which is of an older source"
      remove_tree "$path"
      rm -f "$path.lock"
    fi
  done <<<"$paths"
}

# What a killed vps.sh left: the unfinished disk of a guest, a layer in the making. Whoever still works there has the lock.
clean_up_after_killed() {
  local folder lock
  for folder in "$sandbox_dir"/*/disk; do
    folder=${folder%/disk}
    [[ -d $folder/disk && ! -e $folder/stack ]] || continue
    lock=$(lock_of_guest "$folder")
    discard_unless_locked "$lock" "$folder" "$folder"
  done
  for folder in "$layers_dir"/*.new; do
    [[ ! -d $folder ]] || discard_unless_locked "${folder%.new}.lock" "$folder/guest" "$folder"
  done
}

# discard_unless_locked LOCK FOLDER_OF_GUEST DIRECTORY
discard_unless_locked() (
  dir=$2 name=${2##*/}
  exec 5>"$1"
  flock -n 5 || exit 0
  discard_guest
  remove_tree "$3"
)
