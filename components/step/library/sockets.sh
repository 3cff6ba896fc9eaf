# shellcheck shell=bash
# TCP sockets, as the kernel lists them.

# socket_tables: puts into 'tables' the files in which the kernel lists TCP sockets.
socket_tables() {
  tables=(/proc/net/tcp)
  [[ ! -e /proc/net/tcp6 ]] || tables+=(/proc/net/tcp6) # is not there without IPv6
}

# listeners: the sockets that take connections: 'PORT INODE', the port in hexadecimal.
listeners() {
  local -a tables
  socket_tables
  awk '$4 == "0A" { sub(/.*:/, "", $2); print $2, $10 }' "${tables[@]}"
}

# listener_inode PORT: of the socket that takes connections there; nothing when the port is free.
listener_inode() {
  local pattern
  local -a tables
  socket_tables
  printf -v pattern ':%04X$' "$1"
  awk -v port="$pattern" '$2 ~ port && $4 == "0A" && !inode { inode = $10 } END { print inode }' "${tables[@]}"
}

# connections_to PORT: how many a server on that port has open.
connections_to() {
  local pattern
  local -a tables
  socket_tables
  printf -v pattern ':%04X$' "$1"
  awk -v port="$pattern" '$2 ~ port && $4 == "01" { open++ } END { print open + 0 }' "${tables[@]}"
}
