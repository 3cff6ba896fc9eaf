# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
case "$*" in
  *'address show'*) echo '2: eth0    inet 192.0.2.10/24 brd 192.0.2.255 scope global eth0' ;;
  *'link show'*) echo '2: eth0: <BROADCAST,UP> mtu 1500 qdisc fq state UP link/ether 52:54:00:00:00:01' ;;
esac
exit 0
