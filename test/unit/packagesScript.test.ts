import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import type { Action } from "../../components/step/script";
import type { Ended } from "./bash";
import { directory, runStep } from "./hostScript";

/** The step with a dpkg that knows what is in the file "installed", and an apt-get that puts it there. */
const file = (name: string) => join(directory, name);
const read = (name: string) => (existsSync(file(name)) ? readFileSync(file(name), "utf8") : "");
const log = () => read("log/tiny.log");

const stubs = `
  dpkg-query() {
    local package code=0
    (($# > 2)) || content_of "$home/installed"
    for package in "\${@:3}"; do
      command grep "^$package " "$home/installed" || { echo "dpkg-query: no packages found matching $package" >&2; code=1; }
    done
    return "$code"
  }
  called() { echo "$*" >>"$home/commands"; }
  installs() { printf '%s installed\\n' curl nginx >"$home/installed"; }
  apt-get() {
    local action
    for action in update install; do [[ " $* " != *" $action "* ]] || break; done
    called "apt-get $action"
    if [[ $action == install ]]; then echo 'Setting up'; installs; fi
  }
  dpkg() { called "dpkg $1"; }
  cloud-init() { echo 'status: done'; }
  lists_are_fresh() { echo yes; }
  is_active() { echo yes; }
  unit_property() { echo enabled; }
  sleep() { called sleep; }`;
const packages = (action: Action, lines = ""): Promise<Ended> =>
  runStep("packages", action, { packages: ["curl", "nginx"], home: directory }, `${stubs}\n${lines}`);

/** A program that at its first calls prints a text and fails. */
const failing = (program: string, text: string, code: number, times = 1, action = "") => `
  eval "working_$(declare -f ${program})"
  ${program}() {
    if [[ " $* " == *" ${action} "* || -z '${action}' ]] && [[ $(content_of "$home/failed" | wc -l) -lt ${times} ]]; then
      called "${program} fails"
      echo >>"$home/failed"
      printf '%s\\n' ${JSON.stringify(text)}
      return ${code}
    fi
    working_${program} "$@"
  }`;

const aptLock =
  "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4711 (unattended-upgr)\nE: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?";
const dpkgLock =
  "dpkg: error: dpkg frontend lock was locked by another process with pid 4711\nNote: removing the lock file is always wrong.";
const interrupted =
  "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem. ";

beforeEach(() => {
  mkdirSync(directory, { recursive: true });
  writeFileSync(file("installed"), "curl installed\nnginx half-configured\n");
});

describe("the check of the packages", () => {
  test("names what is not installed, or only in part", async () => {
    expect(await packages("check")).toEqual({
      code: 0,
      stdout: "package nginx is not installed\n",
      stderr: "",
    });
    writeFileSync(file("installed"), "");
    expect((await packages("check")).stdout).toBe(
      "package curl is not installed\npackage nginx is not installed\n",
    );
  });

  test("is no answer when dpkg gives none", async () => {
    const broken = "dpkg-query() { echo 'dpkg-query: error: parsing file' >&2; return 2; }";
    for (const action of ["check", "apply"] as const) {
      const { code, stdout, stderr } = await packages(action, broken);
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toContain("dpkg-query exited 2: dpkg-query: error: parsing file");
    }
    expect(read("commands")).toBe("");
  });
});

describe("packages are installed", () => {
  test("with one call of apt, and what it says is in the log", async () => {
    expect(await packages("apply")).toEqual({
      code: 0,
      stdout: "tiny: installing nginx\ntiny: done\n",
      stderr: "",
    });
    expect(read("commands")).toBe("apt-get install\n");
    expect(log()).toBe("Setting up\n");
  });

  test("after cloud-init has ended, and what is waited for is said once", async () => {
    const { code, stdout } = await packages(
      "apply",
      `cloud-init() { echo; echo 'status: running'; }
       sleep() { called sleep; [[ $(wc -l <"$home/commands") -lt 3 ]] || cloud-init() { echo 'status: error'; return 1; }; }`,
    );
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout:
        "tiny: waiting for cloud-init, which is still setting the host up, at most 5 minutes\n" +
        "tiny: installing nginx\ntiny: done\n",
    });
    expect(read("commands")).toBe("sleep\nsleep\nsleep\napt-get install\n");
  });

  test("without cloud-init when it does not end within 5 minutes, which is said", async () => {
    const { code, stdout } = await packages(
      "apply",
      `cloud-init() { echo 'status: running'; }\nsleep() { SECONDS=$((SECONDS + 100)); }`,
    );
    expect(code).toBe(0);
    expect(stdout).toContain("WARNING: cloud-init is still at work after 5 minutes");
    expect(read("commands")).toBe("apt-get install\n");
  });

  test("after a lock of apt is free, and who holds it is said once", async () => {
    expect(await packages("apply", failing("apt-get", aptLock, 100, 2))).toEqual({
      code: 0,
      stdout:
        "tiny: installing nginx\ntiny: waiting for apt: process 4711 (unattended-upgr) holds /var/lib/dpkg/lock-frontend\ntiny: done\n",
      stderr: "",
    });
    expect(read("commands")).toBe("apt-get fails\nsleep\napt-get fails\nsleep\napt-get install\n");
  });

  test("after an interrupted installation, which waits for dpkg's lock as well", async () => {
    const { code, stdout } = await packages(
      "apply",
      `${failing("dpkg", dpkgLock, 2)}
       apt-get() { if [[ -e $home/configured ]]; then called "apt-get ok"; installs; else echo "${interrupted}"; return 100; fi; }
       eval "locked_$(declare -f dpkg)"
       dpkg() { locked_dpkg "$@" || return; : >"$home/configured"; }`,
    );
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout:
        "tiny: installing nginx\ntiny: retrying with fresh package lists\n" +
        "tiny: waiting for apt: process 4711 holds the dpkg frontend lock\ntiny: done\n",
    });
    expect(read("commands")).toBe("dpkg fails\nsleep\ndpkg --configure\napt-get ok\napt-get ok\n");
  });

  test.each([
    [
      "apt",
      failing("apt-get", aptLock, 100, 999),
      /process 4711 \(unattended-upgr\) holds \/var\/lib\/dpkg\/lock-frontend/,
    ],
    [
      "dpkg",
      `${failing("dpkg", dpkgLock, 2, 999)}\napt-get() { echo "${interrupted}"; return 100; }`,
      /process 4711 holds the dpkg frontend lock/,
    ],
  ])(
    "or not, when another program holds the lock of %s for more than 10 minutes; nobody is told to end it",
    async (_, lines, holder) => {
      const { code, stderr } = await packages("apply", `${lines}\nsleep() { SECONDS=$((SECONDS + 300)); }`);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^tiny: FAILED: apt is still busy after 10 minutes: /);
      expect(stderr).toMatch(holder);
      expect(stderr).toContain("run again when it has finished");
      expect(stderr).not.toMatch(/end it|kill/);
    },
  );

  test("or the true error is shown, without a guess", async () => {
    const { code, stderr } = await packages(
      "apply",
      failing("apt-get", "E: Unable to locate package nginx", 100, 999, "install"),
    );
    expect(code).toBe(1);
    expect(stderr).toBe(
      `tiny: FAILED: installing nginx. Last lines of ${file("log/tiny.log")} on the host:\n` +
        "E: Unable to locate package nginx\nE: Unable to locate package nginx\n",
    );
    // The first of the two is from before the lists were fetched.
    expect(read("commands")).toBe("apt-get fails\ndpkg --configure\napt-get update\napt-get fails\n");
  });

  test.each([
    [
      "a source that cannot be read",
      "E: no Release file",
      "apt cannot read all of its sources: no Release file; fix or remove them",
    ],
    [
      "a failure without a word",
      "",
      "apt cannot read all of its sources: apt-get update exited 100; fix or remove them",
    ],
  ])("also with %s, which is named, when they come from another", async (_, text, warning) => {
    const { code, stdout } = await packages(
      "apply",
      `lists_are_fresh() { :; }\n${failing("apt-get", text, 100, 999, "update")}`,
    );
    expect(code).toBe(0);
    expect(stdout).toContain(`tiny: WARNING: ${warning}`);
  });

  test("or not, and the source that cannot be read is named too", async () => {
    const { code, stdout, stderr } = await packages(
      "apply",
      "apt-get() { echo 'E: no Release file' 'of old'; return 100; }",
    );
    expect(code).toBe(1);
    expect(stdout).toContain(
      "tiny: WARNING: apt cannot read all of its sources: no Release file of old; fix or remove them",
    );
    expect(stderr).toContain("tiny: FAILED: installing nginx. Last lines of");
  });

  test.each([
    ["half-configured", "at once", "", "apt-get install"],
    [
      "unpacked",
      "when dpkg has ended an interruption",
      "E: dpkg was interrupted",
      "apt-get fails\ndpkg --configure\napt-get update\napt-get install",
    ],
  ])("also with a package of others that stays %s, which is named: %s", async (state, _, first, calls) => {
    const { code, stdout } = await packages(
      "apply",
      `installs() { printf '%s\\n' 'curl installed' 'nginx installed' 'theirs ${state}' >"$home/installed"; }
       eval "good_$(declare -f apt-get)"
       apt-get() { good_apt-get "$@"; [[ " $* " != *' install '* ]] || { echo 'E: Sub-process dpkg returned an error code (1)'; return 100; }; }
       dpkg() { called "dpkg $1"; return 1; }
       ${first && failing("apt-get", first, 100)}`,
    );
    expect({
      code,
      warning: stdout.includes(
        `tiny: WARNING: other packages of the host are installed in part: theirs (${state}); `,
      ),
    }).toEqual({ code: 0, warning: true });
    expect(read("commands")).toBe(`${calls}\n`);
  });

  test("or not because of a package of others, which is named", async () => {
    writeFileSync(file("installed"), "curl installed\ntheirs half-installed\n");
    const { code, stdout, stderr } = await packages(
      "apply",
      "apt-get() { echo 'E: needs to be reinstalled'; return 100; }",
    );
    expect(code).toBe(1);
    expect(stdout).toContain("in part: theirs (half-installed); ");
    expect(stderr).toContain("FAILED: installing nginx");
  });

  test("and a source that apt could not reach just now is named, where it only warns", async () => {
    const { code, stdout } = await packages(
      "apply",
      `lists_are_fresh() { :; }
       eval "good_$(declare -f apt-get)"
       apt-get() {
         good_apt-get "$@"
         [[ " $* " != *' update '* ]] || printf 'W: %s\n' 'Failed to fetch http://mirror/InRelease  Could not connect' 'Some index files failed'
       }`,
    );
    expect(code).toBe(0);
    expect(stdout).toContain(
      "WARNING: apt cannot read all of its sources: Failed to fetch http://mirror/InRelease  Could not connect; fix or remove them in",
    );
    expect((await packages("apply", "lists_are_fresh() { :; }")).stdout).not.toContain("WARNING");
  });

  /** nginx does not run, and systemd knows what was masked in this boot. */
  const stopped = `
    is_active() { :; }
    unit_property() { if [[ -e $home/mask ]]; then echo masked-runtime; elif grep -q nginx "$home/installed"; then echo enabled; else echo; fi; }
    systemctl() {
      called "systemctl $*"
      case $1 in mask) touch "$home/mask" ;; unmask) rm -f "$home/mask" ;; esac
    }`;
  const masked = "systemctl mask --runtime nginx.service\n";
  const unmasked = "systemctl unmask --runtime nginx.service\n";
  const disabled = "systemctl disable nginx.service\n";

  test("while nginx, if it does not run, cannot be started, and a new one does not start at boot without our site", async () => {
    expect(await packages("apply", stopped)).toMatchObject({ code: 0 });
    expect(read("commands")).toBe(`${masked}apt-get install\n${unmasked}${disabled}`);
  });

  test("and nginx that was installed before starts at boot as before", async () => {
    writeFileSync(file("installed"), "nginx installed\n");
    expect(await packages("apply", stopped)).toMatchObject({ code: 0 });
    expect(read("commands")).toBe(`${masked}apt-get install\n${unmasked}`);
  });

  test("and a mask of somebody else stays, without a word of ours", async () => {
    writeFileSync(file("mask"), "");
    expect((await packages("check", stopped)).stdout).toBe("package nginx is not installed\n");
    expect(await packages("apply", stopped)).toMatchObject({ code: 0 });
    expect(read("commands")).toBe("apt-get install\n");
  });

  test.each([
    ["fails", "apt-get() { called apt-get; return 100; }"],
    ["is ended", 'apt-get() { called apt-get; kill -TERM "$$"; }'],
  ])("and nginx can be started again when that %s", async (_, lines) => {
    expect((await packages("apply", `${stopped}\n${lines}`)).code).not.toBe(0);
    expect(read("commands")).toContain(masked);
    expect(read("commands")).toContain(unmasked);
    expect((await packages("check", stopped)).stdout).toBe("package nginx is not installed\n");
  });

  test("and what a killed run has left is named, and put right without apt", async () => {
    await packages("apply", `${stopped}\napt-get() { installs; kill -KILL "$$"; sleep 1; }`);
    expect(read("commands")).toMatch(new RegExp(`^${masked}`));
    expect((await packages("check", stopped)).stdout).toBe(
      "an installation that was interrupted has masked nginx\n",
    );
    rmSync(file("commands"));
    expect(await packages("apply", stopped)).toMatchObject({ code: 0 });
    expect(read("commands")).toBe(unmasked + disabled);
  });

  test("and a nginx of others is no matter to packages without it", async () => {
    const body = `${stubs}\n${stopped}\ninstalls() { echo 'curl installed' >"$home/installed"; }`;
    writeFileSync(file("installed"), "");
    await runStep("packages", "apply", { packages: ["curl"], home: directory }, body);
    expect(read("commands")).toBe("apt-get install\n");
  });

  test("and what apt said before the run was killed is in the log", async () => {
    await packages("apply", "apt-get() { echo 'Unpacking nginx'; kill -KILL \"$$\"; }");
    expect(log()).toBe("Unpacking nginx\n");
  });
});
