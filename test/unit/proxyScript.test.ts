import { spawnSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Values } from "../../components/step/script";
import { readPython } from "../../components/step/text";
import { runFunctions } from "./stepFunctions";

const rivals = readPython(__dirname, "../../components/entrance/proxy/rivals.py");

let directory: string;
let usersFile: string;
let values: Values;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "mlflow-vps-proxy-"));
  for (const name of ["etc/mlflow-vps", "etc/nginx/sites-available", "etc/nginx/sites-enabled"]) {
    mkdirSync(join(directory, name), { recursive: true });
  }
  usersFile = join(directory, "etc/mlflow-vps/htpasswd");
  values = {
    users: { ada: "secret-of-ada", bob: "secret-of-bob", eve: "secret-of-eve" },
    usersFile,
    certificateFile: join(directory, "server.pem"),
    site: "the new site",
    uri: "https://mlflow.example.org",
    port: 443,
    httpPort: 80,
    names: ["mlflow.example.org", "203.0.113.7"],
    rivals,
  };
  writeFileSync(join(directory, "etc/nginx/nginx.conf"), "user www-data;\nevents {}\n");
});
afterEach(() => rmSync(directory, { recursive: true }));

/** Owners are root's to give. */
const anybody = "chown() { :; }\ncheck_access() { :; }\nsystemctl() { :; }\n";
const run = (lines: string) => runFunctions("proxy", values, anybody + lines, directory);
/** Stands in for a command that fails at its n-th call; the calls are counted across subshells. */
const failing = (command: string, nth: number) => `
${command}() {
  printf x >>"${directory}/calls"
  if (($(stat -c %s "${directory}/calls") == ${nth})); then return 1; fi
  command ${command} "$@"
}
`;

describe("the users' file", () => {
  const write = 'content=$(render_users)\nwrite_file "$users_file" root:www-data 0640 "$content"\n';
  const read = () => readFileSync(usersFile, "utf8");

  test("has a line for each user that only the password fits, and keeps a right one", async () => {
    expect(await run(`${write}check_users`)).toEqual({ code: 0, stdout: "", stderr: "" });
    const before = read();
    expect(before.split("\n").map((line) => line.split(":")[0])).toEqual([
      "# Managed by mlflow-vps",
      "ada",
      "bob",
      "eve",
      "",
    ]);
    await run(write);
    expect(read()).toBe(before);
  });

  test.each([
    ["openssl", 1],
    ["openssl", 2],
    ["openssl", 3],
    ["openssl", 5],
    ["base64", 1],
    ["base64", 2],
    ["sort", 1],
  ])("stays whole when %s fails at call %i", async (command, nth) => {
    const before = "ada:old\nbob:old\neve:old\n";
    writeFileSync(usersFile, before);
    const { code, stderr } = await run(failing(command, nth) + write);
    expect(code).not.toBe(0);
    expect(stderr).toContain("FAILED");
    expect(read()).toBe(before);
  });

  test.each(["openssl", "base64", "tail", "tr"])(
    "is not said to be wrong when %s fails: the check fails",
    async (command) => {
      await run(write);
      const { code, stdout } = await run(`${failing(command, 1)}check_users`);
      expect(code).not.toBe(0);
      expect(stdout).toBe("");
    },
  );

  test("that was changed is named line by line", async () => {
    await run(write);
    const [managed, ada, bob] = read().split("\n");
    writeFileSync(
      usersFile,
      `${managed}\n${ada}\nbob:${ada?.split(":")[1]}\nbob:x\nmallory:{SSHA}!\n$(id):x`,
    );
    const { code, stdout } = await run("check_users");
    expect(code).toBe(0);
    expect(stdout.split("\n").sort()).toEqual([
      "",
      `${usersFile} names a user twice`,
      `unexpected user $(id) in ${usersFile}`,
      `unexpected user mallory in ${usersFile}`,
      "user bob has a different password",
      "user eve is missing",
    ]);
    expect(bob).toMatch(/^bob:\{SSHA\}/);
    expect(await run(`${write}check_users`)).toEqual({ code: 0, stdout: "", stderr: "" });
  });
});

describe("the site", () => {
  const available = () => join(directory, "etc/nginx/sites-available/mlflow-vps");
  const link = () => join(directory, "etc/nginx/sites-enabled/mlflow-vps");
  const page = () => join(directory, "etc/nginx/sites-enabled/default");
  const nginx = (verdict: string) => `
nginx() {
  if [[ $1 == -v ]]; then echo "nginx version: nginx/1.22.1" >&2; return; fi
  if [[ $1 == -T ]]; then echo "# configuration file $site_link:"; return; fi
  ${verdict}
}
`;
  const takes = nginx("return 0");
  const refuses = nginx('echo "unknown directive" >&2; return 1');
  /** The distribution's page is on, and the site of before with an end that a command substitution would lose. */
  const old = "the old site\n\n\n";
  const prepare = () => {
    const packaged = join(directory, "etc/nginx/sites-available/default");
    writeFileSync(packaged, "welcome");
    symlinkSync(packaged, page());
    writeFileSync(available(), old);
    utimesSync(available(), 1_000_000_000, 1_000_000_000);
    symlinkSync("/elsewhere", link());
  };
  const dpkg = `
dpkg-query() { printf ' %s %s\\n' /etc/nginx/sites-available/default 40be4e59b9a2a2b5dffb918c0e86b3d7; }
md5sum() { echo "40be4e59b9a2a2b5dffb918c0e86b3d7  -"; }
`;
  const nothingLeft = () =>
    ["etc/nginx", "etc/nginx/sites-available", "etc/nginx/sites-enabled"]
      .flatMap((name) => readdirSync(join(directory, name)))
      .sort();
  const names = [
    "default",
    "default",
    "mlflow-vps",
    "mlflow-vps",
    "nginx.conf",
    "sites-available",
    "sites-enabled",
  ];
  const asBefore = () => {
    expect(readFileSync(available(), "utf8")).toBe(old);
    expect(lstatSync(available()).mtimeMs).toBe(1_000_000_000_000);
    expect(readlinkSync(link())).toBe("/elsewhere");
    expect(readlinkSync(page())).toMatch(/sites-available\/default$/);
    expect(nothingLeft()).toEqual(names);
  };
  const asWanted = () => {
    expect(readFileSync(available(), "utf8")).toBe("the new site\n");
    expect(readlinkSync(link())).toBe(available());
    expect(existsSync(page())).toBe(false);
    expect(nothingLeft()).toEqual(names.slice(1));
  };

  test("takes its place, its link leads to it, and the distribution's page is off", async () => {
    prepare();
    expect(await run(`${dpkg}${takes}put_site`)).toEqual({ code: 0, stdout: "", stderr: "" });
    asWanted();
  });

  test.each([
    ["", "yes"],
    ["AF_UNIX AF_INET AF_INET6", "yes"],
    ["~AF_NETLINK", "yes"],
    ["~AF_INET6", ""],
    ["~AF_INET6 AF_NETLINK", ""],
    ["AF_INET AF_UNIX", ""],
  ])("with %j as the families of addresses of nginx's unit: with IPv6 %j", async (families, with6) => {
    values = { ...values, site: "listen 443;\n    listen [::]:443;" };
    const { stdout } = await run(`${takes}unit_property() { echo '${families}'; }\nsite_here`);
    expect(stdout).toBe(with6 ? "listen 443;\n    listen [::]:443;\n" : "listen 443;\n");
  });

  test("that nginx refuses leaves all as it was, to the time of the file", async () => {
    prepare();
    const { code, stderr } = await run(`${dpkg}${refuses}put_site`);
    expect(code).toBe(1);
    expect(stderr).toContain("nginx rejects its configuration, the site was restored: unknown directive");
    asBefore();
  });

  test("that nginx refuses on a bare host leaves nothing", async () => {
    expect((await run(`${refuses}put_site`)).code).toBe(1);
    expect(nothingLeft()).toEqual(["nginx.conf", "sites-available", "sites-enabled"]);
  });

  test.each([
    ["", "make 'include /etc/nginx/modules-enabled/*.conf;' the first line of /etc/nginx/nginx.conf"],
    [
      "# include /etc/nginx/modules-enabled/*.conf;",
      "make 'include /etc/nginx/modules-enabled/*.conf;' the first line of /etc/nginx/nginx.conf",
    ],
    [
      "include /etc/nginx/modules-enabled/*.conf;",
      "ln -s /usr/share/nginx/modules-available/mod-http-lua.conf /etc/nginx/modules-enabled/50-mod-http-lua.conf",
    ],
    ["include modules-enabled/*.conf;", "ln -s "],
  ])(
    "that nginx refuses for want of Lua, with %j in nginx.conf, names the way to it",
    async (line, remedy) => {
      writeFileSync(join(directory, "etc/nginx/nginx.conf"), `${line}\n`);
      const noLua = nginx(`echo 'unknown directive "lua_shared_dict" in x:25' >&2; return 1`);
      const { stderr } = await run(`${noLua}put_site`);
      expect(stderr.replaceAll(directory, "")).toContain(remedy);
    },
  );

  test("that nginx does not load is taken back, and what nginx.conf lacks is named", async () => {
    prepare();
    const other = takes.replace("$site_link:", "$site_link.conf:");
    const { code, stderr } = await run(`${dpkg}${other}put_site`);
    expect(code).toBe(1);
    expect(stderr).toContain(`nginx does not load ${link()}: add 'include ${link()}*;' to the http block of`);
    asBefore();
  });

  test("is as before when the run is ended while nginx looks", async () => {
    prepare();
    expect((await run(`${dpkg}${nginx('kill -TERM "$$"; sleep 1')}put_site`)).code).not.toBe(0);
    asBefore();
  });

  test.each(["cp", "mv", "ln", "rm", "mktemp", "chmod", "dpkg-query"])(
    "is whole, old or new, wherever %s fails, and the next run converges",
    async (command) => {
      prepare();
      for (let nth = 1; nth <= 8; nth++) {
        rmSync(join(directory, "calls"), { force: true });
        const { code } = await run(
          `${dpkg}${takes}${failing(command, nth).replace("command dpkg-query", "true")}put_site`,
        );
        if (code === 0) {
          break;
        }
        const text = readFileSync(available(), "utf8");
        expect([old, "the new site\n"]).toContain(text);
      }
      expect(await run(`${dpkg}${takes}put_site`)).toEqual({ code: 0, stdout: "", stderr: "" });
      asWanted();
    },
  );

  test.each(["cp", "mv", "ln", "rm", "touch", "nginx"])(
    "that a killed run left half done at %s is named, put back, and put right",
    async (command) => {
      prepare();
      for (let nth = 1; nth <= 9; nth++) {
        rmSync(join(directory, "calls"), { force: true });
        const kill = failing(command, nth).replace("return 1", "kill -KILL $$; sleep 0.2");
        const stand = command === "nginx" ? kill.replace("command nginx", "true") : kill;
        const { code } = await run(`${dpkg}${takes}${stand}put_site`);
        if (code === 0) {
          break;
        }
      }
      const killed = existsSync(join(directory, "etc/nginx/mlflow-vps.before"));
      const { stdout } = await run(`${dpkg}${takes}check_users() { :; }\ncheck_files`);
      expect(stdout.includes(`a change of ${available()} was interrupted`)).toBe(killed);
      await run(`${dpkg}${takes}put_site`);
      asWanted();
    },
  );

  test("that nginx refuses does not stay when the run was killed: the next one puts back what was before", async () => {
    prepare();
    await run(`${dpkg}${nginx("kill -KILL $$; sleep 0.2")}put_site`);
    expect(readFileSync(available(), "utf8")).toBe("the new site\n");
    expect((await run(`${dpkg}${refuses}put_site`)).code).toBe(1);
    asBefore();
  });

  test("of before comes back even when the run that undoes is killed too", async () => {
    prepare();
    await run(`${dpkg}${nginx("kill -KILL $$; sleep 0.2")}put_site`);
    expect(readFileSync(available(), "utf8")).toBe("the new site\n");
    for (let nth = 1; nth <= 9; nth++) {
      rmSync(join(directory, "calls"), { force: true });
      const kill = failing("mv", nth).replace("return 1", "kill -KILL $$; sleep 0.2");
      await run(`${dpkg}${kill}restore_site`);
    }
    expect((await run("restore_site")).code).toBe(0);
    asBefore();
  });
});

describe("what else nginx serves", () => {
  const nginx = (file = "") => join(directory, "etc/nginx", file);
  const put = (file: string, text: string) => {
    mkdirSync(join(nginx(file), ".."), { recursive: true });
    writeFileSync(nginx(file), text);
  };
  beforeEach(() => {
    put("nginx.conf", "events {}\nhttp { include conf.d/*.conf; include sites-enabled/*; }");
    put(
      "sites-enabled/mlflow-vps",
      `server { listen 80; listen [::]:80; server_name mlflow.example.org 203.0.113.7 [2001:db8::1]; }
       server {
         listen 443 ssl http2; listen [::]:443 ssl http2; server_name mlflow.example.org 203.0.113.7 [2001:db8::1];
         rewrite_by_lua_block { local b = { 1 } if #b == 4 then return end }
       }`,
    );
  });
  const names = "mlflow.example.org 203.0.113.7 2001:db8::1";
  /** What is said of other sites. */
  const lines = (nameless: string, asked: string) => {
    const { stdout, stderr, status } = spawnSync(
      "python3",
      [
        ...["-c", rivals, nginx("sites-enabled/mlflow-vps"), nginx("sites-available/mlflow-vps")],
        ...[asked, "443 80", nameless, nginx()],
      ],
      { encoding: "utf8" },
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    return stdout.replaceAll(`${nginx()}/`, "").trimEnd();
  };
  /** The same, without the remedies. */
  const told = (nameless = "") => lines(nameless, names).replaceAll(/: [^:]*$/gm, "");
  const [before, after] = ["conf.d/shop.conf", "sites-enabled/shop"];
  const takes = (name: string, port = "443", file = before) =>
    `${file} has a server for ${name} on port ${port} too, and nginx takes the first`;

  test.each([
    ["another name", "listen 443 ssl; server_name shop.example.org;"],
    ["a name like ours", "listen 443 ssl; server_name xmlflow.example.org *.example.org;"],
    ["our name on another port", "listen 8443 ssl; listen unix:/run/x; server_name mlflow.example.org;"],
    ["our name on a socket alone", "listen unix:/run/x; server_name mlflow.example.org;"],
    ["our name by UDP", "listen 443 quic; server_name mlflow.example.org;"],
    ["our name in a comment", "listen 443 ssl; # server_name mlflow.example.org;"],
    ["our name as the argument of something else", "listen 443; return 301 https://mlflow.example.org;"],
    ["an IPv6 address that nginx would not recognise", "listen 443 ssl; server_name 2001:db8::1;"],
  ])("is no matter with %s", (_, server) => {
    put(before, `server {\n${server}\n}`);
    expect(told()).toBe("");
  });

  test.each([
    ["443 ssl", "443"],
    ["*:443 ssl", "443"],
    ["[::]:443 ssl", "443"],
    ["0.0.0.0:80", "80"],
    ["80 default_server", "80"],
    ['"443" ssl', "443"],
  ])("takes our name with 'listen %s' where it stands before our site, and not after it", (listen, port) => {
    const theirs = `map $a $b { default "}"; }
      server {
        listen ${listen};
        location / { sub_filter "}" "{"; }
        server_name shop.example.org
          MLflow.example.org;
      }`;
    put(before, theirs);
    expect(told()).toBe(takes("mlflow.example.org", port));
    rmSync(nginx(before));
    put(after, theirs);
    expect(told()).toBe("");
  });

  test.each([
    ['"mlflow.example.org"', "mlflow.example.org"],
    [".mlflow.example.org", "mlflow.example.org"],
    ["[2001:DB8::1]", "[2001:db8::1]"],
  ])("takes our name written as %s", (written, name) => {
    put(before, `server { listen 443 ssl; server_name ${written}; }`);
    expect(told()).toBe(takes(name));
  });

  test("takes our name without a word about ports, and with the port in a snippet", () => {
    put("nginx.conf", "http { server { server_name 203.0.113.7; } include sites-enabled/*; }");
    expect(told()).toBe(takes("203.0.113.7", "80", "nginx.conf"));
    put("nginx.conf", "http { include theirs/x; include sites-enabled/*; }");
    put("theirs/x", "server { include snippets/tls; server_name 203.0.113.7; }");
    put("snippets/tls", "listen 443 ssl;");
    expect(told()).toBe(takes("203.0.113.7", "443", "theirs/x"));
  });

  test("is no matter with what is no HTTP, but for an address of ours", () => {
    const theirs = "stream { server { listen 443; server_name mlflow.example.org; } }";
    put("nginx.conf", `${theirs} http { include sites-enabled/*; }`);
    expect(told("*")).toBe("");
    put("nginx.conf", `${theirs.replace("443", "203.0.113.7:443")} http { include sites-enabled/*; }`);
    expect(told()).toContain("nginx.conf listens on 203.0.113.7:443");
  });

  test.each([
    ["203.0.113.7:443 ssl", "proxy.port"],
    ["[2001:db8:0::1]:443 ssl", "proxy.port"],
    ["203.0.113.7", "proxy.httpPort"],
  ])("takes all requests to an address of ours with 'listen %s'", (listen, setting) => {
    put(after, `server { listen ${listen}; server_name x; }`);
    expect(lines("", names)).toMatch(
      new RegExp(
        String.raw`^${after} listens on \S+:(443|80), so it gets every request to that address: give it another port there, or set ${setting}$`,
      ),
    );
  });

  test("takes what comes to an address that forwards to one of this host's", () => {
    const { address } = Object.values(networkInterfaces())
      .flatMap((all) => all ?? [])
      .find(({ internal, family }) => !internal && family === "IPv4") ?? { address: "" };
    put(after, `server { listen ${address}:443; server_name x; }`);
    expect(lines("", "203.0.113.7")).toContain(`${after} listens on ${address}:443`);
  });

  test.each(["198.51.100.8:443 ssl", "[2001:db8::2]:443 ssl", "127.0.0.1:80", "localhost:80", "[::1]:80"])(
    "is no matter with 'listen %s': an address that no client of ours uses",
    (listen) => {
      put(after, `server { listen ${listen}; server_name x; }`);
      expect(told()).toBe("");
    },
  );

  test.each(["127.0.0.1:443", "localhost:443", "[::1]:443"])(
    "takes what this host itself asks with 'listen %s', which is not to be opened to others",
    (listen) => {
      put(after, `server { listen ${listen}; stub_status; }`);
      expect(lines("", names)).toBe(
        `${after} listens on ${listen}, so it gets what this host itself asks our site: give it another port there`,
      );
    },
  );

  test("gives its certificate to clients that connect by address, where it is the default for theirs", () => {
    const line = (file: string) =>
      `${file} has the default server of port 443, so clients that connect by address get its certificate`;
    const shop = (listen: string) => `server { listen ${listen}; server_name x; }`;
    put(before, shop("443 ssl"));
    expect([told("*"), told("[::]"), told()]).toEqual([line(before), "", ""]);
    rmSync(nginx(before));
    put(after, shop("443 ssl"));
    expect(told("*")).toBe("");
    put(after, shop("443 ssl default_server"));
    expect([told("*"), told("[::]"), told()]).toEqual([line(after), "", ""]);
    put(after, shop("[::]:443 ssl default_server"));
    expect([told("*"), told("[::]"), told()]).toEqual(["", line(after), ""]);
  });

  test("cannot be told when it cannot be read", () => {
    put(before, "server { listen 443");
    const arguments_ = ["-c", rivals, "link", "file", "name", "443 80", "", nginx()];
    const { status, stderr } = spawnSync("python3", arguments_, { encoding: "utf8" });
    expect({ status, stderr: stderr.replace(`${nginx()}/`, "") }).toEqual({
      status: 1,
      stderr: `nginx's configuration cannot be read: ${before}: ends within listen\n`,
    });
  });

  test.each([
    ["https://mlflow.example.org", ""],
    ["https://203.0.113.7", "*"],
    ["https://203.0.113.7:8443", "*"],
    ["https://203.0.113.7.example.org", ""],
    ["https://[2001:db8::1]", "[::]"],
    ["http://203.0.113.7", ""],
  ])("is asked for as by a client of %s", async (uri, nameless) => {
    values = { ...values, uri };
    const { stdout } = await run(
      `nginx() { echo "# configuration file $site_file:"; }\npython3() { printf '<%s>' "\${@:5}"; }\nobstacles`,
    );
    expect(stdout).toBe(`<mlflow.example.org 203.0.113.7><443 80><${nameless}>`);
  });

  test.each([
    ["is told with wrong answers", "", "", "000\nin the way\n"],
    [
      "is no question while nginx rejects what is on disk",
      "",
      "refused",
      "nginx rejects its configuration on disk; 'nginx -t' shows why\n000\n",
    ],
    ["is no question while files of ours are wrong", "changed", "", "changed\n"],
  ])("%s", async (_, files, refusal, lines) => {
    const { stdout } = await run(`
      check_programs() { :; }; check_files() { echo ${files}; }; nginx_refusal() { echo ${refusal}; }
      remember_units() { :; }; starts_at_boot() { echo yes; }; is_active() { echo yes; }; nginx_has_read() { echo yes; }
      drain_flag_is_stale() { :; }; check_answers() { echo 000; }; obstacles() { echo in the way; }
      check`);
    expect(stdout).toBe(lines);
  });
});

describe("the user of nginx", () => {
  test.each([
    ["user www-data;", "www-data"],
    ["# user www-data;\n  user nginx;\n", "nginx"],
    ["user deploy  staff ;", "staff"],
    ["worker_processes 1;", "nogroup"],
    ["map $user x;\nuser\tdeploy; events {}", "deploy"],
    ['user "www-data";', "www-data"],
    ["user 'deploy' \"staff\";", "staff"],
    ["worker_processes auto; user nginx;", "nginx"],
    ["user\n  deploy\n  staff;", "staff"],
    ["worker_processes 1; # 2; user nginx;", "nogroup"],
  ])("as in %j may read the passwords", async (text, group) => {
    writeFileSync(join(directory, "etc/nginx/nginx.conf"), text);
    expect(await run("nginx_group")).toEqual({ code: 0, stdout: `${group}\n`, stderr: "" });
  });
});

describe("nginx that somebody has masked", () => {
  test.each([
    ["masked", "'systemctl unmask nginx'"],
    ["masked-runtime", "'systemctl unmask --runtime nginx'"],
  ])("(%s) is named with the way out, and left so", async (state, remedy) => {
    const stubs = `
      check_programs() { :; }; check_files() { :; }; nginx_refusal() { :; }; remember_units() { :; }
      unit_property() { if [[ $2 == UnitFileState ]]; then echo ${state}; fi; }`;
    const line = `nginx is masked: ${remedy} on the host lets it start`;
    expect((await run(`${stubs}\ncheck`)).stdout).toBe(`${line}\nnginx is not running\n`);
    const { code, stderr } = await run(`${stubs}\nsystemctl() { echo "systemctl $*" >&2; }\napply`);
    expect({ code, stderr }).toEqual({ code: 1, stderr: `tiny: FAILED: ${line}, then run again\n` });
    expect(existsSync(usersFile)).toBe(false);
  });
});

describe("nginx without nginx.conf", () => {
  beforeEach(() => rmSync(join(directory, "etc/nginx/nginx.conf")));

  test("is said to reject its configuration, and nothing is said of the group", async () => {
    writeFileSync(usersFile, "");
    const { code, stdout } = await run(`
      check_programs() { :; }; check_site() { :; }; nginx_refusal() { echo refused; }; check_access() { echo "$*"; }
      remember_units() { :; }; starts_at_boot() { echo yes; }; is_active() { :; }
      check`);
    expect(code).toBe(0);
    expect(stdout).toContain("nginx rejects its configuration on disk; 'nginx -t' shows why\n");
    expect(stdout).not.toContain("root:");
  });

  test("keeps the file of the users, which running workers can read", async () => {
    writeFileSync(usersFile, "");
    const { code, stderr } = await run("apply");
    expect(code).toBe(1);
    expect(stderr).toContain("nginx.conf is missing: 'apt-get install --reinstall");
    expect(readFileSync(usersFile, "utf8")).toBe("");
  });
});

describe("an answer of the server", () => {
  test("that cannot be asked for fails the check", async () => {
    const { code, stdout } = await run("curl() { return 127; }\ncheck_answers");
    expect(code).not.toBe(0);
    expect(stdout).toBe("");
  });

  test("that does not come is named", async () => {
    const { code, stdout } = await run("curl() { printf 000; return 7; }\ncheck_answers");
    expect(code).toBe(0);
    expect(stdout).toContain("a request without a password is answered with 000, not with 401\n");
  });
});

describe("a reload of nginx", () => {
  const flag = () => join(directory, "run/mlflow-vps/drain");
  const lock = () => join(directory, "run/mlflow-vps/reload");
  const active = 'is_active() { echo yes; }\nsleep() { command sleep 0.05; }\nlogged() { shift; "$@"; }\n';
  /** A master with these workers, and when each started relative to the reload. */
  const workers = (list: string) => `
unit_property() { echo 100; }
nginx_workers() { echo ${list}; }
command_line_of() { [[ $1 != 3 ]] || echo "nginx: worker process is shutting down"; }
read_stat() { fields=([19]=$1); }
older_than() { [[ $1 != 1 ]] || echo yes; }
`;

  test.each([
    ["workers that have read the files", "2 4", "yes\n"],
    ["one that has not", "2 1", ""],
    ["one that only finishes", "2 3", "yes\n"],
    ["none", "", ""],
  ])("with %s", async (_, list, answer) => {
    expect(await run(`${workers(list)}nginx_has_read file`)).toEqual({ code: 0, stdout: answer, stderr: "" });
  });

  test("finds no workers where nginx is not running, and none of a master that has just ended", async () => {
    expect(await run("unit_property() { echo 0; }\nnginx_has_read file")).toMatchObject({
      code: 0,
      stdout: "",
    });
    expect(await run("unit_property() { echo 7; }\nnginx_has_read file")).toMatchObject({
      code: 0,
      stdout: "",
    });
  });

  test("cannot tell where systemd does not answer, or the kernel has no list of them", async () => {
    expect((await run("systemctl() { return 1; }\nnginx_has_read file")).code).not.toBe(0);
    mkdirSync(join(directory, "proc/7/task/7"), { recursive: true });
    expect((await run("unit_property() { echo 7; }\nnginx_has_read file")).stderr).toContain("cannot read");
  });

  test("takes its flag away before it lets go of the lock, and never another's", async () => {
    symlinkSync("/dev/null", join(directory, "etc/nginx/sites-enabled/mlflow-vps"));
    const { code } = await run(`${active}${workers("2")}
systemctl() { [[ -e $drain_file ]]; }
reload_nginx
[[ ! -e $drain_file ]]
: >"$drain_file" # another's`);
    expect(code).toBe(0);
    expect(existsSync(flag())).toBe(true);
  });

  test.each([
    ["fails", "systemctl() { return 1; }"],
    ["is ended", 'systemctl() { kill -TERM "$$"; command sleep 1; }'],
  ])("that %s takes its flag away", async (_, stub) => {
    symlinkSync("/dev/null", join(directory, "etc/nginx/sites-enabled/mlflow-vps"));
    expect((await run(`${active}${workers("2")}${stub}\nreload_nginx`)).code).not.toBe(0);
    expect(existsSync(lock())).toBe(true);
    expect(existsSync(flag())).toBe(false);
  });

  test("that was killed is named at once, and one in progress is not", async () => {
    mkdirSync(join(directory, "run/mlflow-vps"), { recursive: true });
    expect(await run("drain_flag_is_stale")).toEqual({ code: 0, stdout: "", stderr: "" });
    writeFileSync(flag(), "");
    expect(await run("drain_flag_is_stale")).toEqual({ code: 0, stdout: "yes\n", stderr: "" });
    expect(await run('exec 8>"$reload_lock"; flock 8; drain_flag_is_stale')).toEqual({
      code: 0,
      stdout: "",
      stderr: "",
    });
    expect((await run("flock() { return 66; }\ndrain_flag_is_stale")).code).not.toBe(0);
  });
});
