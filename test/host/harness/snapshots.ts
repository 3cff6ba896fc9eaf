import type { Guest } from "./guest";

/** Everything that an apply that does nothing must leave alone: files of ours by time and content, processes by id. */
export function fingerprint(guest: Guest): Promise<string> {
  const ours = "/etc/mlflow-vps /etc/nginx /etc/postgresql /etc/systemd/system /etc/logrotate.d /opt/mlflow";
  return guest.run(`
    find ${ours} -printf '%p %m %u:%g %T@ %C@ %s\\n' | sort
    find /etc/mlflow-vps /etc/nginx /etc/postgresql -type f -exec sha256sum {} + | sort
    stat -c '%n %a %U:%G %Y' /var/lib/mlflow /var/lib/mlflow/artifacts
    for unit in 'mlflow@*' nginx postgresql@15-main postgresql@17-main; do
      systemctl show --property Id,MainPID,ActiveState,UnitFileState,InvocationID "$unit"
    done
    cat /proc/$(systemctl show --property MainPID --value nginx)/task/*/children
    getent passwd; getent group`);
}

/**
 * Everything on the guest that a look must leave alone: each file by content, time, owner and mode, each unit by state
 * and processes, the firewall, the rows. Left out is what moves by itself: kernel file systems, the journal, logs and
 * temporary files of requests, PostgreSQL's own files (its rows are compared), the login's records, timers' stamps.
 */
export function listing(guest: Guest): Promise<string> {
  const moving = [
    ...["/proc", "/sys", "/dev", "/run", "/tmp", "/var/log", "/var/lib/postgresql", "/var/lib/nginx"],
    ...["/var/lib/mlflow/tmp", "/var/lib/systemd", "/var/lib/private", "/var/lib/lastlog"],
  ];
  return guest.run(`
    find / \\( ${moving.map((path) => `-path ${path}`).join(" -o ")} \\) -prune -o -printf '%p %y %m %u:%g %T@ %l\\n' | sort
    find / \\( ${moving.map((path) => `-path ${path}`).join(" -o ")} \\) -prune -o -type f -print0 | sort -z | xargs -0 sha256sum
    ls -l --time-style=full-iso /var/log/mlflow-vps /var/log/nginx/error.log
    systemctl list-units --all --plain --no-legend --type service,timer,socket,mount | awk '{ print $1, $2, $3, $4 }' |
      grep -v -e '^run-' -e '^user' -e '^session' -e '^systemd-' -e '^apt-' -e '^dpkg-' -e '^e2scrub' -e '^fstrim'
    systemctl show --property Id,MainPID,InvocationID,UnitFileState 'mlflow@*' nginx 'postgresql@*' ssh
    nft list ruleset 2>/dev/null || true
    cd /tmp; runuser -u postgres -- pg_dumpall | grep -v -e '^.restrict' -e '^.unrestrict' | sha256sum`);
}
