#!/usr/bin/env node
/**
 * Runs one of the project's TypeScript programs, named by its path in the project:
 *
 *     scripts/start.cjs cli/main.ts ARGUMENT...
 *
 * Reading the TypeScript and the hundreds of files of Pulumi's SDK takes longer than most of what a program does. So
 * esbuild bundles it once, and the bundle is kept in node_modules/.cache by a digest of all that it is made of: a
 * program never meets the bundle of other sources or other packages.
 */
const { createHash } = require("node:crypto");
const {
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} = require("node:fs");
const Module = require("node:module");
const { dirname, join, relative, resolve } = require("node:path");
const { Script } = require("node:vm");

const project = resolve(__dirname, "..");
const cache = join(project, "node_modules/.cache/mlflow-vps");
const sources = ["cli", "components", "config", "sandbox", "scripts"];
/** The last one is npm's note of what it has installed. */
const files = ["index.ts", "package.json", "tsconfig.json", "node_modules/.package-lock.json"];
/** Bundles of other sources are kept as long as a program may just be starting with them. */
const staleAfter = 3_600_000;

/** Of everything that a bundle may be made of; of the place too, for it holds paths. */
function digest() {
  const found = sources.flatMap((directory) =>
    readdirSync(join(project, directory), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.(ts|cjs)$/.test(name))
      .sort()
      .map((name) => join(directory, name)),
  );
  const hash = createHash("sha256").update(project);
  for (const file of [...found, ...files]) {
    const content = readFileSync(join(project, file));
    hash.update(`\n${file} ${content.length}\n`).update(content);
  }
  return hash.digest("hex").slice(0, 32);
}

/** @type {import("esbuild").Plugin} */
const adapt = {
  name: "adapt",
  setup({ onLoad }) {
    // These load the TypeScript compiler and npm's installer, to store code in an engine's state. There is no engine here.
    onLoad({ filter: /@pulumi\/pulumi\/runtime\/closure\/(serializeClosure|codePaths)\.js$/ }, () => ({
      contents: `exports.serializeFunction = async () => ({ text: "not stored: there is no engine" });`,
    }));
    // The components read the scripts that lie beside them.
    onLoad({ filter: /\.ts$/ }, ({ path }) => ({
      contents: `const __dirname = ${JSON.stringify(dirname(path))}; ${readFileSync(path, "utf8")}`,
      loader: "ts",
    }));
  },
};

/**
 * A command, imported when it is called, is a bundle of its own: what only the others need is not loaded.
 *
 * @param {Set<string>} found gets their paths in the project
 * @returns {import("esbuild").Plugin}
 */
const apart = (found) => ({
  name: "apart",
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/commands\// }, ({ path, resolveDir }) => {
      found.add(relative(project, join(resolveDir, `${path}.ts`)));
      return { path: `${path}.cjs`, external: true };
    });
  },
});

/**
 * @param {string} program
 * @param {string} directory
 */
async function build(program, directory) {
  /** @type {Set<string>} */
  const commands = new Set();
  const bundle = bundleOf(program, directory);
  // A program that starts at the same time finds the whole bundle, with those of its commands, or none.
  const unfinished = `${bundle}.${process.pid}`;
  await require("esbuild").build({
    entryPoints: [join(project, program)],
    outfile: unfinished,
    bundle: true,
    platform: "node",
    target: "node20.19",
    supported: { "dynamic-import": false }, // but require, which is faster by 70 ms
    external: ["*.node", "cpu-features"], // ssh2 does without them where they were not compiled
    sourcemap: "external", // for a failure; Node would read it at each start
    sourcesContent: false,
    plugins: [adapt, apart(commands)],
    logLevel: "silent", // what fails is thrown
  });
  await Promise.all([...commands].map((command) => build(command, directory)));
  renameSync(`${unfinished}.map`, `${bundle}.map`);
  renameSync(unfinished, bundle);
}

/**
 * @param {string} program
 * @param {string} directory
 */
const bundleOf = (program, directory) => join(directory, program.replace(/\.ts$/, ".cjs"));

/** @param {string} current */
function removeStale(current) {
  for (const name of readdirSync(cache)) {
    const directory = join(cache, name);
    const { mtimeMs = Date.now() } = statSync(directory, { throwIfNoEntry: false }) ?? {};
    if (name !== current && Date.now() - mtimeMs > staleAfter) {
      rmSync(directory, { recursive: true, force: true });
    }
  }
}

/**
 * The positions of a stack in the sources of the bundle.
 *
 * @param {string} stack
 * @param {string} bundle
 */
function inSources(stack, bundle) {
  const file = `${bundle}.map`;
  if (!existsSync(file)) {
    return stack; // it was removed meanwhile
  }
  const map = new Module.SourceMap(JSON.parse(readFileSync(file, "utf8")));
  return stack.replaceAll(/([^\s(]+):(\d+):(\d+)/g, (found, path, line, column) => {
    const { originalSource, originalLine, originalColumn } = /** @type {Module.SourceMapping} */ (
      path === bundle ? map.findEntry(line - 1, column - 1) : {}
    );
    return originalSource === undefined
      ? found
      : `${resolve(dirname(bundle), originalSource)}:${originalLine + 1}:${originalColumn + 1}`;
  });
}

/**
 * Runs a bundle as Node would, but with what V8 compiled the first time, which it need not do again.
 *
 * @param {string} bundle
 */
function run(bundle) {
  process.argv.splice(1, 2, bundle);
  process.on("uncaughtExceptionMonitor", (error) => {
    error.stack &&= inSources(error.stack, bundle);
  });
  const compiled = `${bundle}.compiled`;
  const cachedData = existsSync(compiled) ? readFileSync(compiled) : undefined;
  const source = readFileSync(bundle, "utf8");
  const script = new Script(Module.wrap(source), { filename: bundle, cachedData });
  if (cachedData === undefined || script.cachedDataRejected) {
    process.on("exit", () => {
      writeFileSync(`${compiled}.${process.pid}`, script.createCachedData());
      renameSync(`${compiled}.${process.pid}`, compiled);
    });
  }
  const main = new Module(bundle);
  main.filename = bundle;
  const read = Module.createRequire(bundle);
  script.runInThisContext().call(main.exports, main.exports, read, main, bundle, dirname(bundle));
}

function main() {
  const [program] = process.argv.slice(2);
  if (program === undefined) {
    throw new Error("usage: scripts/start.cjs PROGRAM ARGUMENT...");
  }
  const current = digest();
  const bundle = bundleOf(program, join(cache, current));
  if (existsSync(bundle)) {
    run(bundle);
    return;
  }
  build(program, join(cache, current)).then(
    () => {
      removeStale(current);
      run(bundle);
    },
    (error) => {
      process.stderr.write(`${error.message}\n`);
      process.exitCode = 1;
    },
  );
}

main();
