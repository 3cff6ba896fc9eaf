import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Ended } from "./bash";
import { bash, directory, owner, render, run, stack, startBash, withLibrary } from "./hostScript";

/** The forms of the library: a failure passes for no answer, and what a run began is undone however it ends. */

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise((done) => setTimeout(done, 5));
  }
}
const file = (name: string) => join(directory, name);
const read = (name: string) => (existsSync(file(name)) ? readFileSync(file(name), "utf8") : "");

describe("an attempt", () => {
  const functions = `
    breaks() { echo begun; false; echo 'went on'; }
    works() { echo begun; true; echo ended; }`;
  const attempt = (command: string) =>
    withLibrary(`${functions}\nlocal status\nattempt ${command}\necho "status $status"`);

  test.each([
    ["works", "works", "begun\nended\nstatus 0\n"],
    ["fails in its middle", "breaks", "begun\nstatus 1\n"],
    ["exits with a code of its own", "bash -c 'exit 7'", "status 7\n"],
    ["exits the script", "eval 'exit 3'", "status 3\n"],
    ["is not there", "no_such_command", "status 127\n"],
    ["is ended by a signal", "bash -c 'kill -TERM $$'", "status 143\n"],
    ["reads its input", "cat <<<input", "input\nstatus 0\n"],
    ["has a substitution that fails", "eval 'x=$(breaks); echo \"on $x\"'", "status 1\n"],
    ["has a pipeline that fails", "eval 'breaks | cat; echo on'", "begun\nstatus 1\n"],
    ["has a variable that is not set", "eval 'echo $no_such_value; echo on'", "status 1\n"],
  ])("of what %s leaves its exit code, and the run goes on", async (_, command, stdout) => {
    expect(await attempt(command)).toMatchObject({ code: 0, stdout });
  });

  test("says nothing about a command that may fail", async () => {
    expect(await attempt("false")).toEqual({ code: 0, stdout: "status 1\n", stderr: "" });
  });

  test("names the command within a function that failed", async () => {
    expect((await attempt("breaks")).stderr).toBe("tiny: FAILED in breaks at: false\n");
  });

  test("within another one is one of its own", async () => {
    const { stdout } = await withLibrary(`${functions}
      outer() { local status; attempt breaks; echo "inner $status"; false; echo 'went on'; }
      local status
      attempt outer
      echo "outer $status"`);
    expect(stdout).toBe("begun\ninner 1\nouter 1\n");
  });

  test("leaves errexit on afterwards", async () => {
    const { code, stdout } = await withLibrary("local status; attempt false; false; echo 'went on'");
    expect(code).not.toBe(0);
    expect(stdout).toBe("");
  });
});

describe("a logged function", () => {
  test("fails with its second command, and what it printed is in the log", async () => {
    const { code, stdout, stderr } = await withLibrary(
      "two() { echo one; cat /nonexistent/file; echo more; }\nlogged 'doing it' two; echo on",
    );
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("tiny: FAILED: doing it. Last lines of");
    expect(stderr).toContain("/nonexistent/file: No such file or directory\n");
    expect(read("log/tiny.log")).toMatch(/ doing it\none\ncat: /);
    expect(read("log/tiny.log")).not.toContain("more");
  });

  test("gets the input", async () => {
    expect((await withLibrary("logged 'reading' cat <<<given; cat \"$log_file\"")).stdout).toContain("given");
  });
});

describe("what is given to at_exit", () => {
  const note = (word: string) => `at_exit bash -c 'echo ${word} >>"$0"' "$trace"`;
  const trace = () => read("trace");
  const ends = (lines: string) => withLibrary(lines, { trace: file("trace") });

  test("is run the last one first, when all went well", async () => {
    expect(await ends(`${note("a")}; ${note("b")}; echo body >>"$trace"`)).toMatchObject({ code: 0 });
    expect(trace()).toBe("body\nb\na\n");
  });

  test("gets its arguments as they were", async () => {
    await ends(`at_exit bash -c 'printf "%s|" "$@" >"$0"' "$trace" 'a b' "it's" '$HOME' '' '*'`);
    expect(trace()).toBe("a b|it's|$HOME||*|");
  });

  test.each([
    ["a command fails", "false", 1],
    ["fail ends the run", "fail 'on purpose'", 1],
    ["exit does", "exit 5", 5],
    ["a variable is not set", "echo $no_such_value", 1],
    ["a logged command fails", "logged 'it' false", 1],
  ])("is run when %s, and the exit code stays", async (_, lines, code) => {
    expect((await ends(`${note("a")}; ${lines}`)).code).toBe(code);
    expect(trace()).toBe("a\n");
  });

  test.each([
    ["TERM", 143],
    ["HUP", 129],
    ["INT", 130],
  ] as const)("is run on SIG%s, after the command that is in progress", async (signal, code) => {
    const { child, ended } = startBash(
      render(
        { trace: file("trace"), go: file("go") },
        `check() {
          local status
          ${note("cleaned")}
          slow() { echo begun >>"$trace"; until [[ -e $go ]]; do sleep 0.01; done; echo ended >>"$trace"; }
          attempt slow
          echo 'went on' >>"$trace"
        }`,
      ),
      ["check"],
    );
    await until(() => trace() !== "");
    child.kill(`SIG${signal}`);
    child.kill(`SIG${signal}`);
    expect(trace()).toBe("begun\n");
    writeFileSync(file("go"), "");
    expect((await ended).code).toBe(code);
    expect(trace()).toBe("begun\nended\ncleaned\n");
  });

  test("is run when nobody hears the run any more", async () => {
    const script = render(
      { trace: file("trace") },
      `check() { ${note("a")}; at_exit false; ${note("b")}; while true; do say on; sleep 0.01; done; }`,
    );
    writeFileSync(file("script"), script);
    await bash(
      "set +o pipefail; { bash -s check <script 2>&1; echo $? >code; } | head -n 1; until [[ -e code ]]; do sleep 0.01; done",
      [],
    );
    expect(trace()).toBe("b\na\n");
    expect(read("code")).not.toBe("0\n");
  });

  test("is run also after another one failed, and the run has failed then", async () => {
    const { code, stderr } = await ends(`${note("a")}; at_exit eval 'false; echo no'; ${note("b")}`);
    expect(code).toBe(1);
    expect(stderr).toContain("tiny: FAILED: cleaning up: eval ");
    expect(trace()).toBe("b\na\n");
  });

  test("may itself attempt something", async () => {
    await ends(
      `tidy() { local status; attempt false; echo "status $status" >>"$trace"; }; ${note("a")}; at_exit tidy`,
    );
    expect(trace()).toBe("status 1\na\n");
  });

  test.each([
    ["a subshell", "(X)"],
    ["an attempt", "local status; inner() { X; }; attempt inner"],
    ["a substitution", "local x; x=$(X)"],
  ])("in %s is run at its end, and that of the run at the run's", async (_, form) => {
    await ends(
      `${note("run")}; ${form.replace("X", `${note("inner")}; echo within >>"$trace"`)}; echo after >>"$trace"`,
    );
    expect(trace()).toBe("within\ninner\nafter\nrun\n");
  });

  test("is run now, once, where its time has come", async () => {
    await ends(
      `${note("a")}; ${note("b")}; exit_command_now; echo body >>"$trace"; exit_command_now; echo end >>"$trace"`,
    );
    expect(trace()).toBe("b\nbody\na\nend\n");
  });

  test("now, and fails, ends the run", async () => {
    const { code, stdout } = await ends("at_exit false; exit_command_now; echo on");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  });
});

describe("waiting for an answer", () => {
  test("ends with the first yes", async () => {
    const { code, stdout } = await withLibrary(
      `question() { echo >>"$asked"; local lines; mapfile -t lines <"$asked"; ((\${#lines[@]} < 3)) || echo yes; }
       wait_until 10 'too late' question; echo on`,
      { asked: file("asked") },
    );
    expect({ code, stdout, asked: read("asked") }).toEqual({ code: 0, stdout: "on\n", asked: "\n\n\n" });
  });

  test("fails with its text in time", async () => {
    const { code, stderr } = await withLibrary("wait_until 1 'too late' echo -n; echo on");
    expect({ code, stderr }).toEqual({ code: 1, stderr: "tiny: FAILED: too late\n" });
  });

  test("fails with a question that cannot tell, at once", async () => {
    const { code, stdout, stderr } = await withLibrary(
      "question() { cat /nonexistent/file; echo yes; }\nwait_until 600 'too late' question; echo on",
    );
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).not.toContain("too late");
  });
});

describe("reading", () => {
  test("what is not found is empty, what cannot be searched is a failure", async () => {
    writeFileSync(file("text"), "one\ntwo\n");
    const found = (args: string) => withLibrary(`local x; x=$(found ${args}); echo "<$x>"`);
    expect(await found("two text")).toMatchObject({ code: 0, stdout: "<two>\n" });
    expect(await found("three text")).toEqual({ code: 0, stdout: "<>\n", stderr: "" });
    expect(await found("two missing")).toMatchObject({ code: 1, stdout: "" });
    expect(await found("two text missing")).toMatchObject({ code: 1, stdout: "" });
    expect(await found("'[' text")).toMatchObject({ code: 1, stdout: "" });
  });

  test("a file that is not there is empty, one that cannot be read is a failure", async () => {
    writeFileSync(file("text"), "one\n");
    const content = (name: string) => withLibrary(`local x; x=$(content_of ${name}); echo "<$x>"`);
    expect(await content("text")).toEqual({ code: 0, stdout: "<one>\n", stderr: "" });
    expect(await content("missing")).toEqual({ code: 0, stdout: "<>\n", stderr: "" });
    expect(await content(".")).toMatchObject({ code: 1, stdout: "" });
  });

  test("properties of units are asked for once, and are those of their unit, also when one is empty", async () => {
    const { stdout } = await withLibrary(`
      local -A properties=()
      systemctl() { printf '%s\\n' MainPID=0 ControlGroup= '' MainPID=7 ControlGroup=/b=c; }
      remember_units MainPID,ControlGroup a.service b.service
      systemctl() { echo "asked for $*"; }
      for unit in a b c; do unit_property "$unit.service" MainPID; unit_property "$unit.service" ControlGroup; done`);
    expect(stdout).toBe(
      "0\n\n7\n/b=c\nasked for show --property MainPID --value c.service\n" +
        "asked for show --property ControlGroup --value c.service\n",
    );
  });

  test("an account that cannot be asked for is not one that is missing", async () => {
    const ask = (code: number) =>
      withLibrary(`getent() { return ${code}; }\nlocal x; x=$(has_entry passwd mlflow); echo "<$x>"`);
    expect(await ask(0)).toMatchObject({ code: 0, stdout: "<yes>\n" });
    expect(await ask(2)).toMatchObject({ code: 0, stdout: "<>\n" });
    expect(await ask(1)).toMatchObject({ code: 1, stdout: "" });
  });

  test("statements are for this host, whatever the environment names", async () => {
    const { ended } = startBash(render({}, 'check() { env | found "^PG"; echo end; }'), ["check"], {
      PGHOST: "elsewhere",
      PGSERVICE: "other",
    });
    expect(await ended).toEqual({ code: 0, stdout: "end\n", stderr: "" });
  });
});

test("programs of the distribution come before others of the same name", async () => {
  const { stdout } = await withLibrary('echo "$PATH"; type -P bash');
  expect(stdout).toBe("/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin\n/usr/bin/bash\n");
});

describe("free disk", () => {
  const stubbed = (lines: string) => withLibrary(`as_root() { "$@"; }\n${lines}`);

  test("is measured where the directory is or will be", async () => {
    const { code, stdout } = await stubbed(
      `local a b; a=$(free_kilobytes /proc/self/not/there); b=$(free_kilobytes /); echo "$a $((b > 0))"`,
    );
    expect({ code, stdout }).toEqual({ code: 0, stdout: "0 1\n" });
  });

  test.each([
    ["df fails", "as_root() { return 1; }"],
    [
      "sudo fails",
      "as_root() { sudo -n \"$@\"; }; sudo() { echo 'sudo: a password is required' >&2; return 1; }",
    ],
    ["df says nothing", "as_root() { :; }"],
    ["df says something else", "as_root() { echo Avail; echo -; }"],
  ])("that cannot be told because %s is not enough, nor too little", async (_, lines) => {
    const { code, stdout } = await stubbed(`${lines}\ncheck_room / 1; echo on`);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  });
});

describe("a directory is deleted", () => {
  const root = process.getuid?.() === 0;
  const deletes = (lines = "", name = "data") =>
    withLibrary(`${lines}\ndelete_directory "$place/${name}"`, { place: directory });
  /** In a mount namespace of its own, so that nothing stays mounted on this machine. */
  const inNamespace = async (lines: string): Promise<Ended> => {
    writeFileSync(
      file("script"),
      render(
        { place: directory },
        `check() {\n${lines}\ndelete_directory "$place/data"\nfind "$place/data" "$place/outside" | sort\n}`,
      ),
    );
    return bash("unshare --mount bash -s check <script", []);
  };
  const fill = () => {
    mkdirSync(file("data/deep/er"), { recursive: true });
    for (const name of ["data/a b", "data/.hidden", "data/deep/er/x\ny", "data/deep/*"]) {
      writeFileSync(file(name), "");
    }
    mkdirSync(file("outside"));
    writeFileSync(file("outside/kept"), "");
  };

  test("with all that is in it", async () => {
    fill();
    expect(await deletes()).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(readdirSync(directory).sort()).toEqual(["outside"]);
  });

  test("and one that is not there is no failure", async () => {
    expect(await deletes()).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test("but not what symbolic links in it lead to", async () => {
    fill();
    symlinkSync(file("outside"), file("data/link"));
    symlinkSync(file("outside/kept"), file("data/deep/link"));
    expect(await deletes()).toMatchObject({ code: 0, stderr: "" });
    expect(existsSync(file("data"))).toBe(false);
    expect(readdirSync(file("outside"))).toEqual(["kept"]);
  });

  test("but not what it leads to when it is a symbolic link itself, which is said", async () => {
    fill();
    symlinkSync(file("outside"), file("link"));
    expect(await deletes("", "link")).toEqual({
      code: 0,
      stdout: `tiny: ${file("link")} was a symbolic link and is deleted; its target ${file("outside")} stays\n`,
      stderr: "",
    });
    expect(readdirSync(directory).sort()).toEqual(["data", "outside"]);
    expect(readdirSync(file("outside"))).toEqual(["kept"]);
  });

  test.each(["find", "rmdir", "sort"])("or the run fails, when %s does", async (command) => {
    fill();
    mkdirSync(file("bin"));
    writeFileSync(file(`bin/${command}`), "#!/bin/sh\nexit 1\n", { mode: 0o755 });
    const { code } = await deletes("PATH=$place/bin:$PATH");
    expect(code).not.toBe(0);
    expect(existsSync(file("data"))).toBe(true);
  });

  test.skipIf(!root)("but a volume that is mounted at the path is only emptied", async () => {
    fill();
    const { code, stdout, stderr } = await inNamespace(
      'mount -t tmpfs tmpfs "$place/data"; mkdir -p "$place/data/x/y"; touch "$place/data/x/y/z"',
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toBe(
      [
        `tiny: ${file("data")} is a mount point: it was emptied, and stays`,
        file("data"),
        file("outside"),
        file("outside/kept"),
        "",
      ].join("\n"),
    );
    expect(existsSync(file("data/a b"))).toBe(true); // what the volume covered
  });

  test.skipIf(!root)("but not what is mounted in it, be it of the same file system or a file", async () => {
    fill();
    const { code, stdout, stderr } = await inNamespace(`
      mkdir "$place/data/deep/[volume] x" "$place/data/bound"; touch "$place/data/one"
      mount -t tmpfs tmpfs "$place/data/deep/[volume] x"; touch "$place/data/deep/[volume] x/kept"
      mount --bind "$place/outside" "$place/data/bound"
      mount --bind "$place/outside/kept" "$place/data/one"`);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout.split("\n").filter((line) => !line.startsWith("tiny: "))).toEqual([
      file("data"),
      file("data/bound"),
      file("data/bound/kept"),
      file("data/deep"),
      file("data/deep/[volume] x"),
      file("data/deep/[volume] x/kept"),
      file("data/one"),
      file("outside"),
      file("outside/kept"),
      "",
    ]);
    for (const name of ["data/deep/[volume] x", "data/bound", "data/one"]) {
      expect(stdout).toContain(`tiny: ${file(name)} is mounted there, and stays as it is\n`);
    }
    expect(stdout).not.toContain("data/a b");
  });
});

describe("the lock of a step", () => {
  const slow = `check() { echo missing; }
    apply() { sleep 300 & echo "$!" >"$child"; kill -KILL "$$"; }`;
  const impatient = (script: string) => script.replace("--timeout 600", "--timeout 1");

  test("is held by what a killed run has left, and that is named, not the process that is gone", async () => {
    const values = { child: file("child") };
    const first = startBash(render(values, slow), ["apply"]);
    await until(() => read("child").endsWith("\n"));
    const child = read("child").trim();
    try {
      const { code, stdout, stderr } = await bash(
        impatient(render(values, "check() { echo missing; }; apply() { echo no; }")),
        ["apply"],
      );
      expect(stdout).toBe(
        `tiny: another run of this step is in progress on the host, waiting for it: process ${child} (sleep)\n`,
      );
      expect(code).toBe(1);
      expect(stderr).toContain(`still in progress after 10 minutes: process ${child} (sleep). `);
      expect(stderr).toContain("This run has changed nothing; ");
      expect(stderr).toContain("run again when it has ended");
      expect(stderr).not.toMatch(/end it|kill/);
      // The number in the file is that of a process that is gone.
      expect(read("run/tiny.lock").trim()).toBe(String(first.child.pid));
    } finally {
      process.kill(Number(child));
    }
    await first.ended;
    expect(await run("apply", values, "check() { :; }")).toMatchObject({ code: 0, stdout: "" });
  });
});

describe("a host", () => {
  const step =
    'check() { [[ -e $target ]] || echo missing; }\napply() { touch "$target"; }\nremove() { rm -f "$target"; }';
  const values = () => ({ target: file("target") });
  const other = () => ({ ...values(), stack: "mlflow-vps/other" });
  const refusal = () =>
    `this host belongs to the stack ${stack}, and this is mlflow-vps/other; destroy that one first, or where it is gone or ` +
    `was renamed, on the host: echo 'mlflow-vps/other' | sudo tee ${file("state/owner")}`;

  test("is claimed by the first apply, in a file that everybody may read", async () => {
    await run("apply", values(), step);
    expect(read("state/owner")).toBe(`${stack}\n`);
    expect(statSync(file("state/owner")).mode & 0o777).toBe(0o644);
    expect(statSync(file("state")).mode & 0o777).toBe(0o755);
  });

  test("of a version that had no owners is claimed by an apply that has nothing to do", async () => {
    mkdirSync(file("state"));
    writeFileSync(file("state/pgpass"), "");
    writeFileSync(file("target"), "");
    expect(await run("apply", values(), step)).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(read("state/owner")).toBe(`${stack}\n`);
  });

  test("of another stack is left alone, by apply and by remove, and the remedy mends it", async () => {
    await run("apply", values(), step);
    rmSync(file("target"));
    const apply = await run("apply", other(), step);
    expect(apply).toEqual({
      code: 1,
      stdout: "",
      stderr: `tiny: FAILED: ${refusal()}. Nothing was changed\n`,
    });
    expect(existsSync(file("target"))).toBe(false);
    writeFileSync(file("target"), "");
    expect(await run("remove", other(), step)).toEqual(apply);
    expect(existsSync(file("target"))).toBe(true);
    expect(read("state/owner")).toBe(`${stack}\n`);

    const remedy = /on the host: (.*)\. Nothing was changed/.exec(apply.stderr)?.[1] ?? "";
    expect(await bash(`sudo() { "$@"; }; ${remedy}`, [])).toMatchObject({ code: 0 });
    expect(await run("apply", other(), step)).toEqual({ code: 0, stdout: "", stderr: "" });
    expect((await run("remove", values(), step)).stderr).toContain(
      "this host belongs to the stack mlflow-vps/other",
    );
  });

  test("is anybody's again when the last step is removed", async () => {
    await run("apply", values(), step);
    writeFileSync(file("state/of-another-step"), "");
    expect(await run("remove", values(), step)).toMatchObject({ code: 0, stderr: "" });
    expect(read("state/owner")).toBe(`${stack}\n`);
    rmSync(file("state/of-another-step"));
    expect(await run("remove", values(), step)).toMatchObject({ code: 0, stderr: "" });
    expect(existsSync(file("state"))).toBe(false);
    expect(await run("remove", other(), step)).toMatchObject({ code: 0, stderr: "" });
    expect(await run("apply", other(), step)).toMatchObject({ code: 0, stderr: "" });
  });

  test("is claimed by one of two that come at once", async () => {
    const both = await Promise.all(
      [values(), other()].flatMap((given) =>
        // Each with a name of its own, as the steps of a program that run beside each other.
        ["a", "b", "c"].map((name) => bash(render({ ...given, step: name }, step), ["apply"])),
      ),
    );
    const winner = read("state/owner").trim();
    expect([stack, "mlflow-vps/other"]).toContain(winner);
    expect(both.filter(({ code }) => code === 0)).toHaveLength(3);
    expect(both.filter(({ stderr }) => stderr.includes("Nothing was changed"))).toHaveLength(3);
  });

  test("whose owner cannot be read is nobody's to change", async () => {
    mkdirSync(file("state/owner"), { recursive: true });
    for (const action of ["apply", "remove"] as const) {
      const { code } = await run(action, values(), step);
      expect(code).not.toBe(0);
      expect(existsSync(file("target"))).toBe(false);
    }
  });

  test("is not touched by a step without privileges, also when root runs it", async () => {
    for (const action of ["apply", "remove"] as const) {
      await run(action, { ...values(), privileged: false }, step.replace("touch", ": touch"));
      expect(readdirSync(directory)).toEqual([]);
    }
  });
});

describe("a file", () => {
  test("is written whole or not at all, when the disk is full", async () => {
    const { code } = await withLibrary(
      `printf() { builtin printf '%.3s' "\${@: -1}"; return 1; }
       write_file "$place/settings" "${owner}" 0600 'new content'`,
      { place: directory },
    );
    expect(code).toBe(1);
    expect(readdirSync(directory).filter((name) => name.startsWith("settings"))).toEqual([]);
  });

  test("that cannot be compared is not taken for one that is right, nor written over", async () => {
    writeFileSync(file("settings"), "old\n");
    const { code } = await withLibrary(
      `stat() { return 1; }; write_file "$place/settings" "${owner}" 0600 old`,
      { place: directory },
    );
    expect(code).not.toBe(0);
    expect(read("settings")).toBe("old\n");
  });
});
