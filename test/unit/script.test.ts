import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { commandLine, quote, readCommandLine, renderScript, type Value } from "../../components/step/script";
import { bash, directory, owner, render, run, withLibrary } from "./hostScript";
import { fullConfig, probeType, type Registered, runProgram } from "./mocks";

/** The probes of the whole program, with the scripts of all steps. */
let probes: Promise<Registered[]> | undefined;
function probesOfTheProgram(): Promise<Registered[]> {
  // With ACME, which the full config does not have.
  probes ??= runProgram({ ...fullConfig, "tls.mode": "acme" }).then((program) => program.ofType(probeType));
  return probes;
}

const nasty = [
  "",
  " ",
  "'",
  "''",
  `"`,
  `it's "quoted" \`here\``,
  "'; touch pwned; '",
  `$HOME \${HOME} $(id) \`id\` $((1+1)) $'x'`,
  "\\",
  "\\'",
  "ends with a backslash\\",
  "\n",
  "\nlines\n\nwith empty ones\n\n",
  "tab\tand\rreturn\r\n",
  "!history !! !$",
  "* ? [a-z] {a,b} ~ ~root",
  "a;b&c|d>e<f(g)h#i",
  "-n",
  "--help",
  "%s%d%%",
  "ümlaut, 漢字, 🎉, \u2028",
  "\u0001\u0002\u001b[31m\u007f",
  "EOF",
  'main "$@" </dev/null',
  "x".repeat(70_000),
];

describe("values", () => {
  const show = "check() { printf '%s\\0' \"$text\"; }";

  test.each(nasty.map((text) => [JSON.stringify(text).slice(0, 40), text]))(
    "%s arrives as it is",
    async (_, text) => {
      expect(await run("check", { text }, show)).toEqual({ code: 0, stdout: `${text}\0`, stderr: "" });
    },
  );

  test("of any characters arrive as they are", async () => {
    // A fixed sequence (Park and Miller's), so that a failure comes again.
    let state = 20_261_123;
    const random = (limit: number) => {
      state = (state * 48_271) % 2_147_483_647;
      return state % limit;
    };
    const alphabet = [..."'\"\\$`!*?[]{}()<>|&;#~%=@+-_ab1 \n\t\r\u0001\u007fä€🎉"];
    const list = Array.from({ length: 500 }, () =>
      Array.from({ length: random(12) }, () => alphabet[random(alphabet.length)]).join(""),
    );
    const { stdout, code } = await run("check", { list }, `check() { printf '%s\\0' "\${list[@]}"; }`);
    expect(code).toBe(0);
    expect(stdout.split("\0").slice(0, -1)).toEqual(list);
  });

  test("in lists keep their number and order", async () => {
    const body = `check() { printf '%s\\0' "\${#list[@]}" "\${list[@]}" "\${#none[@]}"; }`;
    const { stdout } = await run("check", { list: nasty, none: [] }, body);
    expect(stdout.split("\0")).toEqual([String(nasty.length), ...nasty, "0", ""]);
  });

  test("in records keep their keys", async () => {
    const record = Object.fromEntries(
      [
        "ada",
        "grace.h",
        "a b",
        "a'b",
        'a"b',
        "a]b",
        "[a]",
        "a=b",
        "$HOME",
        "`id`",
        "*",
        "@",
        "\\",
        "\n",
        "ü",
      ].map((key, index) => [key, nasty[index + 2] ?? ""]),
    );
    const body = `check() { local key; for key in "\${!record[@]}"; do printf '%s\\0%s\\0' "$key" "\${record[$key]}"; done; }`;
    const { stdout, stderr } = await run("check", { record }, body);
    const parts = stdout.split("\0").slice(0, -1);
    expect(stderr).toBe("");
    expect(
      Object.fromEntries(parts.flatMap((key, at) => (at % 2 === 0 ? [[key, parts[at + 1]]] : []))),
    ).toEqual(record);
  });

  test("have their names in snake case, numbers and flags as text", async () => {
    const body = `check() { printf '%s ' "$step" "$proxy_port" "$delete_data" "$a_b_c"; }`;
    const { stdout } = await run("check", { proxyPort: 80, deleteData: false, aBC: "x" }, body);
    expect(stdout).toBe("tiny 80 false x ");
  });

  test("cannot be changed by a step", async () => {
    const { code, stderr } = await run("check", { text: "x" }, "check() { text=y; }");
    expect(code).not.toBe(0);
    expect(stderr).toContain("text: readonly variable");
  });

  test("have names of their own in every step, for a local variable of that name would be refused", async () => {
    const names = (text: string, pattern: RegExp) =>
      [...text.matchAll(pattern)].flatMap(([, found = ""]) =>
        found.split(/\s+/).map((word) => word.replace(/=.*/, "")),
      );
    for (const { name, inputs } of await probesOfTheProgram()) {
      const script = String(inputs.script);
      const values = names(script, /^declare -r[aA]? (\w+)=/gm);
      const locals = names(script, /^ *local (.*)$/gm);
      expect(values).toEqual(expect.arrayContaining(["step", "stack", "managed"]));
      expect(locals).toEqual(expect.arrayContaining(["path", "access", "left"]));
      expect({ name, both: values.filter((value) => locals.includes(value)) }).toEqual({ name, both: [] });
    }
  });

  test("with a NUL byte, which bash would drop, are refused", () => {
    expect(() => quote("a\0b")).toThrow("NUL");
    const values: Value[] = ["a\0", ["a", "b\0"], { a: "b\0" }, { "a\0": "b" }];
    for (const value of values) {
      expect(() => renderScript("tiny", { value }, [], "")).toThrow("NUL");
    }
  });

  test("are not in the environment of the programs that a step runs", async () => {
    const { stdout } = await run("check", { secret: "hunter2" }, "check() { env; }");
    expect(stdout).toContain("LC_ALL=C.UTF-8");
    expect(stdout).not.toContain("hunter2");
  });
});

describe("a script that arrives in part", () => {
  const body = [
    "check() {",
    '  printf "checked\\n" >>"$trace"',
    '  [[ -e $target ]] || problem "$target is missing"',
    "}",
    "apply() {",
    '  printf "applied\\n" >>"$trace"',
    '  touch "$target"',
    "}",
    'remove() { printf "removed\\n" >>"$trace"; }',
  ].join("\n");

  test("runs nothing, wherever it was cut before its last line", async () => {
    const values = { trace: join(directory, "trace"), target: join(directory, "target"), text: "two\nlines" };
    // A byte each.
    const script = Buffer.from(render(values, body)).toString("latin1");
    const lastLine = script.trimEnd().lastIndexOf("\n") + 1;
    expect(script.slice(lastLine)).toBe('main "$@" </dev/null\n');

    // At the ends of some lines, and anywhere in the last ones; that all of them only declare is the next test's.
    const cuts = new Set<number>([lastLine]);
    let line = 0;
    for (let at = 0; at < lastLine; at += 1) {
      line += script[at] === "\n" ? 1 : 0;
      if ((script[at] === "\n" && line % 6 === 0) || lastLine - at < 60) {
        cuts.add(at);
      }
    }
    writeFileSync(join(directory, "script"), script, "latin1");
    // One bash that tries them all, and names the cuts after which something was done.
    const driver = `for cut in "$@"; do
      head -c "$cut" script | bash -s apply >/dev/null 2>&1
      [[ ! -e trace && ! -e target && ! -e run ]] || { echo "$cut"; rm -rf trace target run; }
    done`;
    expect(cuts.size).toBeGreaterThan(150);
    expect(await bash(driver, [...cuts, script.length].map(String))).toEqual({
      code: 0,
      stdout: `${script.length}\n`, // whole, it does run
      stderr: "",
    });
  });

  test("would run nothing in any step: its lines but the last only declare", async () => {
    // With extdebug, a command before which the DEBUG trap fails is left out.
    const guard = `shopt -s extdebug
trap 'case $BASH_COMMAND in
  "declare "* | "readonly "* | "set "* | "shopt "* | "trap "* | "umask "* | "export "* | "unset "*) ;;
  *) printf "%s\\n" "$BASH_COMMAND" >&2; false ;;
esac' DEBUG
`;
    const done = (text: string) => bash(`${guard}${text}`, ["apply"]).then(({ stderr }) => stderr);
    expect(await done("touch pwned\n")).toBe("touch pwned\n");
    expect(await done("readonly a=$(touch pwned)\n")).toBe("touch pwned\n");
    expect(existsSync(join(directory, "pwned"))).toBe(false);

    const all = await probesOfTheProgram();
    expect(all).toHaveLength(14);
    for (const { name, inputs } of all) {
      const [reading = "", script = ""] = String(inputs.script).split(/(?<=^[^\n]*\n)/, 2);
      expect(reading).toBe('script=$(cat) || exit; eval "$script"\n');
      const lastLine = script.trimEnd().lastIndexOf("\n") + 1;
      expect(script.slice(lastLine)).toBe('main "$@" </dev/null\n');
      expect(`${name}: ${await done(script.slice(0, lastLine))}`).toBe(`${name}: `);
      expect(await done(script)).toMatch(/^main "\$@" < \/dev\/null\n/);
    }
  });
});

describe("apply", () => {
  let values: { trace: string; target: string };
  beforeEach(() => {
    values = { trace: join(directory, "trace"), target: join(directory, "target") };
  });
  const trace = () => (existsSync(values.trace) ? readFileSync(values.trace, "utf8") : "");
  const check = '[[ -e $target ]] || problem "$target is missing"';
  const apply = 'echo applied >>"$trace"; touch "$target"';
  const step = (functions: { check?: string; apply?: string; remove?: string } = {}) =>
    Object.entries({ check, apply, remove: 'rm -f "$target"', ...functions })
      .map(([name, lines]) => `${name}() {\n${lines}\n}`)
      .join("\n");

  test("does nothing, and says nothing, when the check is silent", async () => {
    writeFileSync(values.target, "");
    expect(await run("apply", values, step())).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(trace()).toBe("");
  });

  test("brings about what the check misses, once", async () => {
    expect(await run("apply", values, step())).toEqual({ code: 0, stdout: "tiny: done\n", stderr: "" });
    expect(await run("apply", values, step())).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(trace()).toBe("applied\n");
  });

  test("fails when the check still prints afterwards, and says what", async () => {
    const { code, stdout, stderr } = await run("apply", values, step({ apply: 'echo applied >>"$trace"' }));
    expect(code).toBe(1);
    expect(stderr).toBe(`tiny: FAILED: apply finished, problems remain:\n${values.target} is missing\n`);
    expect(stdout).not.toContain("done");
    expect(trace()).toBe("applied\n");
  });

  test.each([
    ["a command", "false"],
    ["a command that is not the last", "false; true"],
    ["a command within a substitution", "local found; found=$(false; echo on)"],
    ["a command after a line", 'problem "something"; cat /nonexistent/file'],
    ["a pipeline", "false | cat"],
    ["a command substitution", 'problem "$(false)x"; local x; x=$(false)'],
    ["a variable that is not set", 'problem "$no_such_value"'],
    ["a command that is not there", "no_such_command"],
  ])("does not take a check in which %s fails for one that is silent", async (_, lines) => {
    const { code, stderr } = await run("apply", values, step({ check: lines }));
    expect(code).not.toBe(0);
    expect(stderr).not.toBe("");
    expect(trace()).toBe("");
  });

  test("fails when the check fails afterwards", async () => {
    const { code, stdout } = await run(
      "apply",
      values,
      step({ check: '[[ ! -e $target ]]; problem "missing"' }),
    );
    expect(code).not.toBe(0);
    expect(stdout).not.toContain("done");
    expect(trace()).toBe("applied\n");
  });

  test("stops at the first command that fails, names it, and shows no value", async () => {
    const { code, stdout, stderr } = await run(
      "apply",
      { ...values, secret: "hunter2" },
      step({ apply: 'grep --quiet nothing <<<"$secret"\ntouch "$target"' }),
    );
    expect(code).not.toBe(0);
    expect(stderr).toContain("tiny: FAILED");
    expect(stderr).toContain("grep --quiet nothing");
    expect(stdout + stderr).not.toContain("hunter2");
    expect(existsSync(values.target)).toBe(false);
  });

  test("cannot lose the rest of the script to a command that reads its input", async () => {
    expect(await run("apply", values, step({ apply: `cat >/dev/null\n${apply}` }))).toMatchObject({
      code: 0,
    });
    expect(trace()).toBe("applied\n");
  });

  test("waits for another run of the same step, and says so", async () => {
    const slow = step({
      apply: `touch "$target.begun"\nuntil [[ -e $target.go ]]; do sleep 0.01; done\n${apply}`,
    });
    const until = async (condition: () => boolean) => {
      while (!condition()) {
        await new Promise((done) => setTimeout(done, 5));
      }
    };
    const first = run("apply", values, slow);
    await until(() => existsSync(`${values.target}.begun`));
    const holder = join(directory, "run/tiny.lock");
    const second = bash(render(values, slow).replace("say() {", 'say() { echo >>"$target.said"; '), [
      "apply",
    ]);
    await until(() => existsSync(`${values.target}.said`));
    const pid = readFileSync(holder, "utf8").trim();
    writeFileSync(`${values.target}.go`, "");
    expect(await first).toMatchObject({ code: 0, stdout: "tiny: done\n" });
    const { code, stdout, stderr } = await second;
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    // Its children too, for they have the lock's descriptor.
    expect(stdout).toMatch(
      new RegExp(
        `^tiny: another run of this step is in progress on the host, waiting for it: process ${pid} \\(bash\\)(, process \\d+ \\(\\w+\\))*\n$`,
      ),
    );
    expect(trace()).toBe("applied\n");
  });
});

describe("the actions", () => {
  const body = 'check() { echo checks; }\napply() { echo applies; }\nremove() { echo "removes $#"; }';

  test("check prints what the check prints, without a lock, for it only looks", async () => {
    expect(await run("check", {}, body)).toEqual({ code: 0, stdout: "checks\n", stderr: "" });
    expect(readdirSync(directory)).toEqual([]);
  });

  test("a check that fails is a failure, not a host without drift", async () => {
    const { code, stdout } = await run("check", {}, "check() { echo first; false; echo second; }");
    expect(code).not.toBe(0);
    expect(stdout).toBe("first\n");
  });

  test("remove removes, and asks no check", async () => {
    expect(await run("remove", {}, body)).toEqual({ code: 0, stdout: "removes 0\n", stderr: "" });
  });

  test("remove leaves no empty directory behind, and takes none in which something is", async () => {
    const state = join(directory, "state");
    mkdirSync(state);
    writeFileSync(join(state, "of-another-step"), "");
    expect(await run("remove", {}, body)).toMatchObject({ code: 0, stderr: "" });
    expect(readdirSync(state)).toEqual(["of-another-step"]);
    rmSync(join(state, "of-another-step"));
    expect(await run("remove", {}, body)).toMatchObject({ code: 0, stderr: "" });
    expect(existsSync(state)).toBe(false);
  });

  test.each([[["destroy"]], [[""]], [[]]])("%j is none of them", async (args) => {
    const { code, stdout, stderr } = await bash(render({}, body), args);
    expect(code).not.toBe(0);
    expect(stdout).toBe("");
    expect(stderr).not.toBe("");
  });
});

describe("a logged command", () => {
  const log = () => readFileSync(join(directory, "log/tiny.log"), "utf8");

  test("leaves its output in the step's log, which is not for everybody", async () => {
    expect(await withLibrary("logged 'doing it' bash -c 'echo out; echo err >&2'")).toEqual({
      code: 0,
      stdout: "",
      stderr: "",
    });
    expect(log()).toMatch(/^\n== \d{4}-\d\d-\d\dT\S+ doing it\nout\nerr\n$/);
    expect(statSync(join(directory, "log")).mode & 0o777).toBe(0o750);
  });

  test("that fails shows its action and its last lines, cut to a length that a line may have", async () => {
    const { code, stdout, stderr } = await withLibrary(
      `logged 'doing it' bash -c 'for n in {1..100}; do echo "line $n"; done; printf "%09999d\\n" 7; exit 3'; echo on`,
    );
    expect(code).toBe(1);
    expect(stdout).toBe("");
    expect(stderr).toContain(
      `tiny: FAILED: doing it. Last lines of ${directory}/log/tiny.log on the host:\n`,
    );
    expect(stderr).toContain("line 100\n");
    expect(stderr).not.toContain("line 80\n");
    expect(Math.max(...stderr.split("\n").map((line) => line.length))).toBe(400);
  });
});

describe("the command line", () => {
  const settings = { name: "it's", list: ["a\nb"], port: 80 };

  test("uses sudo where root is needed and the login is another", () => {
    expect(commandLine("deploy", true, "apply", "database", {})).toBe("sudo -n bash -s apply # database");
    expect(commandLine("root", true, "apply", "database", {})).toBe("bash -s apply # database");
    expect(commandLine("deploy", false, "check", "preflight", {})).toBe("bash -s check # preflight");
    expect(commandLine("root", false, "remove", "preflight", {})).toBe("bash -s remove # preflight");
  });

  test("shows the settings, in one line whatever they hold", () => {
    expect(commandLine("root", true, "apply", "proxy", settings)).toBe(
      `bash -s apply # proxy {"name":"it's","list":["a\\nb"],"port":80}`,
    );
  });

  test("tells which step it is of, and with which settings", () => {
    expect(readCommandLine(commandLine("deploy", true, "apply", "proxy", settings))).toEqual({
      step: "proxy",
      settings,
    });
    expect(readCommandLine(commandLine("root", false, "check", "preflight", {}))).toEqual({
      step: "preflight",
      settings: {},
    });
    expect(() => readCommandLine("uptime # proxy")).toThrow(
      "this is no command line of a step: uptime # proxy",
    );
  });

  test("runs the action and nothing of the settings", async () => {
    const line = commandLine("root", true, "check", "tiny", { text: "'; touch pwned #\n touch pwned" });
    // As sshd runs a command: the login shell with -c. The script is on its input.
    const { stdout } = await bash(
      `exec bash -c ${quote(line)} <<'SCRIPT'\nprintf '%s.' "$#" "$@"\nSCRIPT\n`,
      [],
    );
    expect(stdout).toBe("1.check.");
    expect(readdirSync(directory)).toEqual([]);
  });
});

describe("a file on the host", () => {
  const me = userInfo();
  let path: string;
  let values: Record<string, string>;
  const content = `# it's "quoted" $HOME \\ \`id\`\n\n  second line`;
  const write = 'write_file "$thing" "$who" 0640 "$text"';
  const check = 'check_file "$thing" "$who" 0640 "$text"';

  beforeEach(() => {
    path = join(directory, "etc/settings.conf");
    values = { thing: path, who: owner, text: content };
  });

  test("is written with its directory, content, owner and mode, and nothing is left beside it", async () => {
    expect(await withLibrary(write, values)).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(readFileSync(path, "utf8")).toBe(`${content}\n`);
    expect(statSync(path).mode & 0o777).toBe(0o640);
    expect(statSync(path).uid).toBe(me.uid);
    expect(readdirSync(join(directory, "etc"))).toEqual(["settings.conf"]);
    expect(await withLibrary(check, values)).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test("that is missing, is one line of the check", async () => {
    expect((await withLibrary(check, values)).stdout).toBe(`${path} is missing\n`);
  });

  test.each([
    ["content", () => writeFileSync(path, "other\n"), () => `${path} was changed\n`],
    ["mode", () => chmodSync(path, 0o644), () => `${path} has mode 644, not 640\n`],
    [
      "content and mode",
      () => {
        writeFileSync(path, `${content}\nmore\n`);
        chmodSync(path, 0o600);
      },
      () => `${path} has mode 600, not 640\n${path} was changed\n`,
    ],
  ])("with another %s is found, and put right", async (_, change, lines) => {
    await withLibrary(write, values);
    change();
    expect((await withLibrary(check, values)).stdout).toBe(lines());
    expect(await withLibrary(`${write}; ${check}`, values)).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test("that belongs to somebody else is found", async () => {
    await withLibrary(write, values);
    expect((await withLibrary('check_file "$thing" "nobody:$who" 0640 "$text"', values)).stdout).toBe(
      `${path} belongs to ${owner}, not to nobody:${owner}\n`,
    );
  });

  test("that is right is left alone", async () => {
    await withLibrary(write, values);
    const before = statSync(path, { bigint: true });
    await withLibrary(write, values);
    const { ino, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    expect({ ino, mtimeNs, ctimeNs }).toEqual({
      ino: before.ino,
      mtimeNs: before.mtimeNs,
      ctimeNs: before.ctimeNs,
    });
  });

  test("has its owner and mode before its content, and its content before its name", async () => {
    await withLibrary(write, { ...values, text: "old" });
    const watched = `
      chown() { echo "chown: mode and size $(stat -c '%a %s' "$2")"; command chown "$@"; }
      chmod() { echo "chmod: mode and size $(stat -c '%a %s' "$2")"; command chmod "$@"; }
      mv() { echo "mv: mode and size $(stat -c '%a %s' "$2")"; echo "there: $(<"$thing")"; command mv "$@"; }
      ${write}`;
    expect((await withLibrary(watched, { ...values, text: "new content" })).stdout.split("\n")).toEqual([
      "chown: mode and size 600 0",
      "chmod: mode and size 600 0",
      "mv: mode and size 640 12",
      "there: old",
      "",
    ]);
  });

  test.each(["chown", "chmod", "mv"])(
    "stays as it was, with nothing beside it, when %s fails",
    async (command) => {
      await withLibrary(write, { ...values, text: "old" });
      const { code } = await withLibrary(`${command}() { return 1; }\n${write}`, values);
      expect(code).not.toBe(0);
      expect(readFileSync(path, "utf8")).toBe("old\n");
      expect(readdirSync(join(directory, "etc"))).toEqual(["settings.conf"]);
    },
  );

  test("in a directory is made and checked by the same rules", async () => {
    const folder = join(directory, "var/lib/data");
    const make = 'make_directory "$thing" "$who" 0750';
    const look = 'check_directory "$thing" "$who" 0750';
    const all = { thing: folder, who: owner };
    expect((await withLibrary(look, all)).stdout).toBe(`${folder} is missing\n`);
    expect(await withLibrary(`${make}; ${look}`, all)).toEqual({ code: 0, stdout: "", stderr: "" });
    chmodSync(folder, 0o777);
    expect((await withLibrary(look, all)).stdout).toBe(`${folder} is ${owner} 777, not ${owner} 750\n`);
    expect(await withLibrary(`${make}; ${look}`, all)).toEqual({ code: 0, stdout: "", stderr: "" });
  });
});

describe("a process", () => {
  const ask = (touch: string) =>
    withLibrary(`${touch}; older=$(older_than "$$" "$place/a" "$place/b"); echo "\${older:-no}"`, {
      place: directory,
    }).then(({ stdout, stderr }) => stdout + stderr);

  test("is older than a file that was changed after it started", async () => {
    expect(await ask('sleep 0.1; touch "$place/b"')).toBe("yes\n");
  });

  test.skipIf(process.getuid?.() !== 0)("is older also in a container, whose uptime is its own", async () => {
    writeFileSync(join(directory, "uptime"), "0.50 0.50\n");
    const lines = `sleep 0.1; touch b; older=$(older_than "$$" a b); echo "\${older:-no}"; cat /proc/uptime`;
    writeFileSync(join(directory, "script"), render({}, `check() { ${lines}; }`));
    const inside = "mount --bind uptime /proc/uptime; exec bash -s check <script";
    expect(await bash(`unshare --mount bash -c ${quote(inside)}`, [])).toEqual({
      code: 0,
      stdout: "yes\n0.50 0.50\n",
      stderr: "",
    });
  });

  test("is younger than files from before it started, and than files that are not there", async () => {
    expect(await ask("touch -d '-1 hour' \"$place/a\"")).toBe("no\n");
  });
});
