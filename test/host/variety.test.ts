import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Deployment, Guest, searchExperiments } from "./harness";

/** Hosts as people have them: what is there already, or not yet, when the first `up` comes. */
const guest = new Guest("test-variety");
const deployment = new Deployment(guest);

beforeAll(async () => {
  await guest.down();
  await guest.up();
});
afterAll(() => guest.down());

/** A package whose configuration fails, today and for ever. */
const brokenPackage = `
  mkdir -p /root/theirs/DEBIAN
  printf 'Package: theirs\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@example.org>\\nDescription: x\\n' >/root/theirs/DEBIAN/control
  printf '#!/bin/sh\\nexit 1\\n' >/root/theirs/DEBIAN/postinst
  chmod 0755 /root/theirs/DEBIAN/postinst
  dpkg-deb --build /root/theirs /root/theirs.deb >/dev/null
  ! dpkg --install /root/theirs.deb 2>/dev/null`;

/** The sources come with cloud-init, which takes its time. */
const cloudInit = `
  cp -a /etc/apt /root/apt
  rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/*
  cat >/usr/bin/cloud-init <<'PROGRAM'
#!/bin/sh
if [ -e /root/apt ]; then echo 'status: running'; else echo 'status: done'; fi
PROGRAM
  chmod 0755 /usr/bin/cloud-init`;

describe("a bare host with all that others have left there", () => {
  let printed = "";
  beforeAll(async () => {
    await guest.run(brokenPackage);
    await guest.run(
      `mirror=$(grep -rhoE 'https?://[^ ]+/debian/?' /etc/apt/sources.list /etc/apt/sources.list.d | sed -n 1p)
       echo "deb $mirror no-such-suite main" >/etc/apt/sources.list.d/theirs.list
       echo 'deb cdrom:[Debian GNU/Linux]/ bookworm main' >/etc/apt/sources.list.d/cdrom.list`,
    );
    await guest.run(cloudInit);
    await guest.run(
      "for program in python3 openssl curl; do printf '#!/bin/sh\\nexit 1\\n' >/usr/local/bin/$program; chmod 0755 /usr/local/bin/$program; done",
    );
    await guest.run(
      `mkdir /etc/systemd/system/nginx.service.d
       printf '[Service]\\nRestrictAddressFamilies=~AF_INET6\\n' >/etc/systemd/system/nginx.service.d/theirs.conf`,
    );
    await guest.start("sleep 8; cp -a /root/apt/. /etc/apt/; rm -r /root/apt");
    printed = await deployment.up();
  });

  it("serves", async () => {
    const { trackingUri, users } = deployment.outputs;
    expect((await searchExperiments(trackingUri, "mlflow", users.mlflow)).status).toBe(200);
    expect(await deployment.drift()).toEqual([]);
  });

  it("was waited for while cloud-init was at work", () => {
    expect(printed).toContain("packages-python: waiting for cloud-init");
  });

  it("is told of a package that is installed in part", () => {
    expect(printed).toContain("other packages of the host are installed in part: theirs (half-configured)");
  });

  it("is told of sources that cannot be read", () => {
    expect(printed).toMatch(/apt cannot read all of its sources: .*no-such-suite/);
    expect(printed).toMatch(/apt cannot read all of its sources: .*cdrom/);
  });

  it("starts nginx only with its site, which a unit without IPv6 can serve", async () => {
    expect(await guest.run("systemctl is-enabled nginx; ls -A /run/systemd/system")).toMatch(
      /^enabled(?!.*nginx)/s,
    );
    expect(
      await guest.run(
        "dpkg --status nginx | grep -c 'ok installed'; grep -c 'listen \\[::\\]' /etc/nginx/sites-available/mlflow-vps || true",
      ),
    ).toBe("1\n0");
  });

  it("names another site that has its name", async () => {
    await guest.run(
      `printf 'server { listen 443 ssl; server_name ${guest.address}; ssl_certificate %s; ssl_certificate_key %s; }' \\
         /etc/mlflow-vps/server.pem /etc/mlflow-vps/server.pem >/etc/nginx/conf.d/theirs.conf; systemctl reload nginx`,
    );
    expect((await deployment.drift()).join("\n")).toMatch(
      new RegExp(`/etc/nginx/conf.d/theirs.conf has a server for ${guest.address} on port 443 too`),
    );
    await guest.run("rm /etc/nginx/conf.d/theirs.conf");
    await deployment.up(); // which reloads nginx
    expect(await deployment.drift()).toEqual([]);
  });

  it("serves under another user of nginx, and names an nginx.conf that does not load it", async () => {
    await guest.run(
      "sed -i 's/^user .*/user nobody nogroup;/; s#sites-enabled/[*]#sites-enabled/*.conf#' /etc/nginx/nginx.conf; systemctl restart nginx",
    );
    await expect(deployment.up()).rejects.toThrow(/nginx does not load .*add 'include /);
    await guest.run("sed -i 's#sites-enabled/[*].conf#sites-enabled/*#' /etc/nginx/nginx.conf");
    await deployment.up();
    expect(await deployment.drift()).toEqual([]);
  });
});
