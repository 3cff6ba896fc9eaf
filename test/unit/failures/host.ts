import type { World } from "./world";

/** A Debian as it is delivered, with SSH and nothing of ours. */
export async function bareHost(world: World): Promise<void> {
  const unit = (name: string, text: string) => world.write(`/usr/lib/systemd/system/${name}`, `${text}\n`);
  const installable = "[Install]\nWantedBy=multi-user.target";
  for (const name of ["nginx.service", "postgresql@15-main.service", "certbot.timer"]) {
    unit(name, `[Unit]\n${installable}`);
  }
  unit("apt-daily.timer", `[Timer]\nOnCalendar=*-*-* 6,18:00\nPersistent=true\n${installable}`);
  unit(
    "apt-daily-upgrade.timer",
    `[Timer]\nOnCalendar=*-*-* 6:00:00\nRandomizedDelaySec=3600\nPersistent=true\n${installable}`,
  );
  unit("apt-daily.service", "[Service]");
  unit("apt-daily-upgrade.service", "[Service]");

  world.write(
    "/etc/os-release",
    'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n',
  );
  world.write("/usr/share/python-wheels/pip-23.0.1-py3-none-any.whl", "");
  world.write("/usr/share/python3/debian_defaults", "[DEFAULT]\ndefault-version = python3.12\n");
  world.write("/proc/meminfo", "MemTotal:        4000000 kB\n");
  world.write("/proc/cpuinfo", "flags : cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3\n");
  world.write("/proc/net/tcp6", "");
  world.write("/proc/net/if_inet6", "");
  world.write("/proc/self/stat", `1 (x) S 1 ${"0 ".repeat(17)}190000000 0\n`);
  world.write("/proc/1/comm", "systemd\n");
  world.write("/proc/90/status", "Name:\tsshd\nPPid:\t1\n");
  world.write("/proc/100/status", "Name:\tbash\nPPid:\t1\n");
  world.write("/proc/100/environ", "SSH_CONNECTION=192.0.2.1 50000 192.0.2.10 2222\0");
  world.write("/proc/self/mountinfo", "21 1 254:0 / / rw - ext4 /dev/vda rw\n");
  world.write("/run/systemd/system/x", "");
  world.write("/etc/apt/apt.conf.d/50unattended-upgrades", 'Unattended-Upgrade::Mail "ops@example.org";\n');
  world.write("/var/lib/systemd/timers/x", "");
  world.write("/srv/x", "");
  world.write("/.state/hour", "0\n");
  world.write("/.state/built", `${Math.floor(Date.now() / 1000)}\n`);
  await world.shell(`
    mkdir -p "$WORLD/.owners" "$WORLD/.state/units" "$WORLD/.state/packages" "$WORLD/.state/passwd" "$WORLD/.state/group" \\
      "$WORLD/.state/network" "$WORLD/.state/pg"
    touch -d '-1 hour' "$WORLD/.state/built"
    systemctl enable --now apt-daily.timer apt-daily-upgrade.timer`);
}

/** One with the distribution's packages: nginx with its own page and somebody's site, PostgreSQL with somebody's database. */
export async function installedHost(world: World): Promise<void> {
  await bareHost(world);
  world.write("/etc/nginx/nginx.conf", "user www-data;\n");
  world.write("/etc/nginx/sites-available/default", "the distribution's own page\n");
  world.write("/etc/nginx/sites-available/grafana", "proxy_pass http://127.0.0.1:50001;\n");
  world.write("/etc/nginx/conf.d/x", "");
  world.write("/etc/postgresql/15/main/postgresql.conf", "listen_addresses = 'localhost'\n");
  world.write(
    "/etc/postgresql/15/main/pg_hba.conf",
    "local all postgres peer\nhost grafana grafana 10.0.0.0/8 scram-sha-256\n",
    0o640,
  );
  world.write("/.state/pg/loads", "1\n");
  world.write("/.state/pg/roles/postgres", "superuser\n");
  world.write("/.state/pg/roles/grafana", "login\npassword=x\n");
  for (const name of ["postgres", "template0", "template1", "grafana"]) {
    const owner = name === "grafana" ? name : "postgres";
    const files = {
      owner: `${owner}\n`,
      data: name === "grafana" ? "rows of others\n" : "",
      relations: "",
      access: "",
      comment: "",
    };
    for (const [file, content] of Object.entries(files)) {
      world.write(`/.state/pg/databases/${name}/${file}`, content);
    }
  }
  await world.shell(`
    mkdir -p /etc/nginx/sites-enabled /etc/postgresql/15/main/conf.d /var/lib/postgresql/15/main
    ln -s /etc/nginx/sites-available/default /etc/nginx/sites-enabled/default
    ln -s /etc/nginx/sites-available/grafana /etc/nginx/sites-enabled/grafana
    sum=$(md5sum </etc/nginx/sites-available/default)
    echo "\${sum%% *}" >"$WORLD/.state/default.md5"
    chown postgres:postgres /etc/postgresql/15/main/pg_hba.conf
    : >"$WORLD/.state/packages/nginx-common"
    systemctl enable --now postgresql@15-main.service
    systemctl enable --now nginx.service`);
}
