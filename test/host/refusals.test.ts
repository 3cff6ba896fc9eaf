import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Deployment, Guest, hostTool } from "./harness";
import { project, succeed } from "./processes";

/** What cannot be done is refused with the host, the cause and the remedy, before anything on the host is changed. */
const guest = new Guest("test-refusals");

beforeAll(async () => {
  await guest.down();
  await guest.up("--suite", "trixie", "--memory-mb", "512");
});
afterAll(() => guest.down());

const everything = () =>
  guest.run("find /etc /opt /usr /var /home -xdev -newer /root/.start -not -path '/var/log/journal*' | sort");

describe("a host that cannot take the server", () => {
  it("is told all its problems at once, each with what to do, and is left as it is", async () => {
    await guest.run(
      'sed -i -e s/^ID=.*/ID=fedora/ -e s/^PRETTY_NAME=.*/PRETTY_NAME="Fedora 44"/ /usr/lib/os-release',
    );
    await guest.start("exec python3 -m http.server 80");
    await guest.run("mount -t tmpfs -o size=100m tmpfs /opt");
    // A volume that the login may not see.
    await guest.run(
      "mkdir -m 0750 /var/lib/mlflow; mkdir /var/lib/mlflow/artifacts; mount -t tmpfs -o size=100m tmpfs /var/lib/mlflow/artifacts",
    );
    await guest.run("until (: </dev/tcp/127.0.0.1/80) 2>/dev/null; do sleep 0.1; done; touch /root/.start");
    const error = await new Deployment(guest).upFails();
    expect(error).toContain(`${guest.address} cannot take the server yet; nothing was changed on it:`);
    expect(error).toMatch(
      /- the system is Fedora 44; install one of: debian-12 debian-13 ubuntu-22\.04 ubuntu-24\.04/,
    );
    expect(error).toMatch(/- the host has \d{3} MB of memory, the server needs 1400 MB; use a larger one/);
    expect(error).toMatch(
      /- \/opt has \d+ MB free, the server needs 2500 MB; make room or use a larger disk/,
    );
    expect(error).toMatch(
      /- \/var\/lib\/mlflow\/artifacts has 100 MB free, the server needs 500 MB; make room or use a larger disk/,
    );
    expect(error).toMatch(/- port 80 is taken by python3; stop that or set proxy\.httpPort to a free port/);
    expect(await everything()).toBe("");
  });

  it("is told when its login may not use sudo", async () => {
    await guest.run("mv /etc/sudoers.d/90-deploy /root/");
    const error = await new Deployment(guest).upFails();
    expect(error).toMatch(/- deploy may not use sudo without a password; as root: echo 'deploy ALL=/);
    expect(error).not.toContain("port 80");
    await guest.run("mv /root/90-deploy /etc/sudoers.d/");
  });
});

describe("a host that cannot be reached", () => {
  it("with another host key than the pinned one gets nothing sent, and the remedy is named", async () => {
    const other = join(guest.directory, "other");
    hostTool("bash", ["-c", `rm -f '${other}' '${other}.pub'; ssh-keygen -q -t ed25519 -N '' -f '${other}'`]);
    const error = await new Deployment(guest, { "host.hostKeyFile": `${other}.pub` }).upFails();
    expect(error).toContain(`deploy@${guest.address} (port 22): host key does not match the pinned key`);
    expect(error).toContain(`./mlflow-vps configure deploy@${guest.address}`);
  });

  it("because the login is refused says which key and name to check", async () => {
    const error = await new Deployment(guest, {
      "host.privateKeyFile": join(guest.directory, "other"),
    }).upFails();
    expect(error).toContain(`deploy@${guest.address} (port 22): the login was refused`);
    expect(error).toContain("authorized_keys");
  });

  it("because nothing listens there, or nobody answers, or the name is unknown, says so", async () => {
    const network = guest.address.replace(/\.2$/, "");
    expect(await new Deployment(guest, { "host.port": 2 }).upFails()).toContain("nothing listens there");
    expect(await new Deployment(guest, { "host.address": `${network}.77` }).upFails()).toContain("no answer");
    expect(await new Deployment(guest, { "host.address": "no-such-host.invalid" }).upFails()).toContain(
      "the name does not resolve",
    );
  });
});

describe("a host that penalizes connections without a login", () => {
  it("lets configure in, twice in a row, which makes none", async () => {
    await guest.run(`echo 'PerSourcePenalties noauth:30 min:15' >/etc/ssh/sshd_config.d/penalties.conf
      systemctl reload ssh
      sshd -T | grep -q '^persourcepenalties .*noauth:30 .*min:15'`);
    const directory = join(guest.directory, "project");
    mkdirSync(directory, { recursive: true });
    const configure = () =>
      succeed(join(project, "mlflow-vps"), [
        ...["configure", `deploy@${guest.address}`, "--yes"],
        ...["--key", join(guest.directory, "id_ed25519"), "--directory", directory],
      ]);
    expect(await configure()).toContain("Written to Pulumi.prod.yaml:");
    expect(await configure()).toContain("Pulumi.prod.yaml is up to date");
    const said = await guest.run("journalctl -u ssh --no-pager -o cat");
    expect(said).not.toMatch(/penalty|drop connection/);
  });
});

describe("a wrong configuration", () => {
  it("is refused before any connection is opened, all wrong values at once", async () => {
    writeFileSync(join(guest.directory, "empty"), "");
    const before = await guest.run("journalctl -u ssh --no-pager -o cat | grep -c Accepted || true");
    const error = await new Deployment(guest, {
      "mlflow.version": "1.0.0",
      users: ["Ada Lovelace"],
      "proxy.port": 70000,
      "host.hostKeyFile": join(guest.directory, "empty"),
      "rotation.databse": 2,
    }).upFails();
    for (const name of ["mlflow.version", "users", "proxy.port", "host.hostKeyFile", "rotation.databse"]) {
      expect(error).toContain(`- ${name}: `);
    }
    expect(error).toContain("the configuration has 5 wrong values, nothing was changed");
    expect(await guest.run("journalctl -u ssh --no-pager -o cat | grep -c Accepted || true")).toBe(before);
  });
});
