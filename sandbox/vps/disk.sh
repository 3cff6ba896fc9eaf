# shellcheck shell=bash
# A guest's disk: a stack of read-only layers, which all guests share, under an upper directory of its own (overlayfs). With
# MLFLOW_VPS_DISK=memory that directory is in the machine's memory, which saves the work of a file system on a disk.
set -euo pipefail

: "${login_user:?} ${name?} ${dir?} ${suite?} ${disk_in?}" # of vps.sh

is_mounted() {
  local code=0
  mountpoint -q "$1" || code=$?
  [[ $code == 0 || $code == 1 || $code == 32 ]] || die "mountpoint $1 exited $code"
  [[ $code != 0 ]] || echo yes
}

# mount_disk STACK DISK ROOT: mounts the layers (a list joined by colons) under DISK/upper on ROOT. 'volatile' never waits
# for the machine's disk: what a guest writes survives a stop of the guest, but not a crash of the machine.
mount_disk() {
  local message mounted
  [[ $1$2 != *[,\\]* && $2 != *:* ]] || die "overlayfs takes no comma, colon or backslash in a path: $2"
  mounted=$(is_mounted "$3")
  [[ -z $mounted ]] || return 0
  mkdir -p "$2" "$3"
  [[ $disk_in != memory || -d $2/upper ]] || mount -t tmpfs -o mode=0755 "$name" "$2"
  mkdir -p "$2/upper" "$2/kernel"
  rm -rf "$2"/kernel/*/incompat # by which the kernel marks a volatile disk in use, or one that the machine took along
  message=$(mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/kernel,redirect_dir=on,volatile" "$3" 2>&1) ||
    die "cannot mount an overlay on $3: $message. It needs an ordinary file system (ext4, xfs): put the guests on one with MLFLOW_VPS_SANDBOX=DIRECTORY"
}

unmount() {
  local mounted
  mounted=$(is_mounted "$1")
  [[ -z $mounted ]] || umount "$1" || die "cannot unmount $1: see 'fuser -vm $1'"
}

# remove_disk DISK ROOT
remove_disk() {
  unmount "$2"
  unmount "$1"
  remove_tree "$1"
}

# Some disks take a millisecond for each deletion but many at once.
remove_tree() {
  [[ -d $1 ]] || return 0
  find "$1" -xdev ! -type d -print0 | xargs -0 -r -P 8 -n 100 rm -f --
  rm -rf --one-file-system "$1"
}

make_keys() {
  [[ -e $dir/id_ed25519 ]] || ssh-keygen -q -t ed25519 -N '' -C "$login_user@$name" -f "$dir/id_ed25519"
  # Whoever ran this by sudo wants to log in without it.
  [[ -z ${SUDO_UID-} ]] || chown "$SUDO_UID:" "$dir/id_ed25519" "$dir/id_ed25519.pub"
  if [[ ! -e $dir/host_keys/complete ]]; then
    rm -rf "$dir/host_keys"
    install -d -m 0700 "$dir/host_keys" "$dir/host_keys/etc" "$dir/host_keys/etc/ssh"
    ssh-keygen -q -A -f "$dir/host_keys" >/dev/null
    find "$dir/host_keys/etc/ssh" -name 'ssh_host_dsa_key*' -delete
    : >"$dir/host_keys/complete"
  fi
  cut -d' ' -f1,2 "$dir/host_keys/etc/ssh/ssh_host_ed25519_key.pub" >"$dir/host_key.pub"
}

# The guest sees the whole machine's memory otherwise. A VPS sold with N MB shows about 97 % of it: its kernel keeps the rest.
pretend_memory() {
  local root=$1 memory_mb=$2
  cat >"$root/usr/local/sbin/sandbox-meminfo" <<'TEXT'
#!/bin/sh
set -eu
awk -v total="$1" '
  $1 == "MemTotal:" { $2 = total }
  $1 == "MemFree:" { $2 = int(total * 0.75) }
  $1 == "MemAvailable:" { $2 = int(total * 0.9) }
  $3 == "kB" { printf "%-15s %8d kB\n", $1, $2; next }
  { print }' /proc/meminfo >/run/sandbox-meminfo
mount --bind /run/sandbox-meminfo /proc/meminfo
TEXT
  chmod 0755 "$root/usr/local/sbin/sandbox-meminfo"
  cat >"$root/etc/systemd/system/sandbox-meminfo.service" <<TEXT
[Unit]
Description=Show the memory of a $memory_mb MB VPS in /proc/meminfo
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/sandbox-meminfo $((memory_mb * 1024 * 97 / 100))

[Install]
WantedBy=sysinit.target
TEXT
  # Where /tmp is a tmpfs, its default size is half of the memory.
  mkdir -p "$root/etc/systemd/system/tmp.mount.d" "$root/etc/systemd/system/sysinit.target.wants"
  printf '[Mount]\nOptions=mode=1777,strictatime,nosuid,nodev,size=%sm,nr_inodes=1m\n' "$((memory_mb / 2))" \
    >"$root/etc/systemd/system/tmp.mount.d/sandbox.conf"
  ln -sf ../sandbox-meminfo.service "$root/etc/systemd/system/sysinit.target.wants/"
}

# make_disk STACK MEMORY_MB: a fresh disk on these layers, with the guest's own name, keys and size.
make_disk() {
  local root=$dir/root
  rm -f "$dir/stack" # what is not complete is no disk
  remove_disk "$dir/disk" "$root"
  remove_tree "$root" # of guests that an earlier version of this script made
  mount_disk "$1" "$dir/disk" "$root"
  tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
  printf '%s\n' "$name" >"$root/etc/hostname"
  printf '127.0.0.1\tlocalhost\n127.0.1.1\t%s\n::1\tlocalhost ip6-localhost ip6-loopback\n' "$name" >"$root/etc/hosts"
  cp -a "$dir"/host_keys/etc/ssh/ssh_host_* "$root/etc/ssh/"
  cp "$dir/id_ed25519.pub" "$root/home/$login_user/.ssh/authorized_keys"
  chroot "$root" /usr/bin/chown "$login_user:$login_user" "/home/$login_user/.ssh/authorized_keys"
  pretend_memory "$root" "$2"
  printf '%s\n' "$suite" >"$dir/suite"
  printf '%s\n' "$2" >"$dir/memory_mb"
  register_guest
  printf '%s' "$1" >"$dir/stack"
}
