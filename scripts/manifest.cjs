/**
 * Prints the package.json of the npm package: the project's, with the dependencies that the components require and
 * without those of the operator's command, which stays in the checkout.
 */
const { isBuiltin } = require("node:module");
const { resolve } = require("node:path");
const { buildSync } = require("esbuild");
const project = require("../package.json");

/** Names of the packages that the components import, directly. */
function requiredPackages() {
  const { metafile } = buildSync({
    absWorkingDir: resolve(__dirname, ".."),
    entryPoints: ["components/index.ts"],
    bundle: true,
    packages: "external",
    platform: "node",
    write: false,
    metafile: true,
  });
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports.map(({ path }) => path));
  return new Set(imports.filter((path) => !isBuiltin(path)));
}

const { bin, scripts, devDependencies, dependencies, ...manifest } = project;
const required = requiredPackages();
// Of a compatible version that the other program has already there is no second copy: Pulumi's SDK keeps state of its own.
const listed = Object.entries(dependencies)
  .filter(([name]) => required.has(name))
  .map(([name, version]) => [name, `^${version}`]);
process.stdout.write(
  `${JSON.stringify({ ...manifest, dependencies: Object.fromEntries(listed) }, null, 2)}\n`,
);
