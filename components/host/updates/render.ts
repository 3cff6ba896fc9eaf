import { managed } from "../../step/script";

/**
 * apt's periodic work. "always" is apt's word for 'each time the timer runs': with "1" a run is left out when there was
 * one on the same day already. The distribution's own file decides what may be upgraded.
 */
export function renderSettings(): string {
  return `${managed}
APT::Periodic::Enable "1";
APT::Periodic::Update-Package-Lists "always";
APT::Periodic::Unattended-Upgrade "always";
Unattended-Upgrade::Automatic-Reboot "false";
Unattended-Upgrade::InstallOnShutdown "false";`;
}

/**
 * Drop-in for apt-daily-upgrade.timer: each day at this time (HH:MM in the host's time zone) and at no other.
 *
 * @param persistent make up for a missed run at once, at boot for example
 */
export function renderSchedule(time: string, persistent = false): string {
  return `${managed}
[Timer]
OnCalendar=
OnCalendar=*-*-* ${time}:00
RandomizedDelaySec=0
Persistent=${persistent}`;
}
