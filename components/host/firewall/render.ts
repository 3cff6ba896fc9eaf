import { managed } from "../../step/script";

/** Stands in the rules where the host puts the ports of its SSH. */
export const sshPorts = "SSH_PORTS";

/**
 * The rules, as `nft -f` takes them: one transaction that replaces our table, and nobody else's. Connections that are
 * established stay so.
 *
 * @param ports TCP ports that are open beside those of SSH
 */
export function renderRules(ports: readonly number[]): string {
  return `${managed}
table inet mlflow_vps
delete table inet mlflow_vps
table inet mlflow_vps {
    chain input {
        type filter hook input priority filter; policy drop;
        iif "lo" accept
        ct state established,related accept
        # Before anything that drops: what takes SSH for invalid must not end it.
        tcp dport { ${sshPorts} } accept
        ct state invalid drop
        icmp type { destination-unreachable, echo-request, time-exceeded, parameter-problem } accept
        icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request, mld-listener-query, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
        # Answers to a DHCP client: they come to a port from which nothing was sent, or to all.
        meta nfproto ipv4 udp sport 67 udp dport 68 accept
        ip6 daddr fe80::/10 udp dport 546 accept
        tcp dport { ${ports.join(", ")} } accept
    }
}`;
}

/** The unit that loads the rules before the network is there. */
export function renderUnit(rulesFile: string): string {
  return `${managed}
[Unit]
Description=Firewall of the MLflow server
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target sysinit.target
# Restarting and reloading that one flushes the tables of all.
After=nftables.service
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f ${rulesFile}
ExecReload=/usr/sbin/nft -f ${rulesFile}
ExecStop=-/usr/sbin/nft delete table inet mlflow_vps

[Install]
WantedBy=sysinit.target`;
}
