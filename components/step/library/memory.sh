# shellcheck shell=bash
# Memory of the host.

# All that it has, in MB.
memory_mb() {
  local name kilobytes
  while read -r name kilobytes _ && [[ $name != MemTotal: ]]; do :; done </proc/meminfo
  echo $((kilobytes / 1024))
}
