import { expect, test } from "vitest";
import { renderHook } from "../../components/entrance/acme/acme";
import { certificateFile } from "../../components/entrance/certificate/certificate";
import { quote } from "../../components/step/script";
import { fullConfig, probeType, runProgram } from "./mocks";

/** What bash says only when it comes there: a local variable cannot have the name of a value, which is readonly. */
test("no function of a step has the name of another, or a variable with the name of a value", async () => {
  const program = await runProgram({ ...fullConfig, "tls.mode": "acme" });
  const clashes = program.ofType(probeType).flatMap(({ name, inputs }) => {
    const hook = quote(renderHook(certificateFile)); // has functions of the same names, in a process of its own
    const script = String(inputs.script).replace(hook, "");
    const names = (pattern: RegExp) => [...script.matchAll(pattern)].map(([, found = ""]) => found);
    const values = new Set(names(/^(?:declare -r[aA]?|readonly) (\w+)=/gm));
    const functions = names(/^(\w+)\(\) [{(]/gm);
    const locals = names(/^ *local (?:-\w+ )?(.*)$/gm).flatMap((line) =>
      [...line.matchAll(/(?:^| )(\w+)(?==| |$)/g)].map(([, found = ""]) => found),
    );
    return [
      ...functions.filter((found, index) => functions.indexOf(found) < index),
      ...locals.filter((found) => values.has(found)),
    ].map((found) => `${name}: ${found}`);
  });
  expect(clashes).toEqual([]);
});
