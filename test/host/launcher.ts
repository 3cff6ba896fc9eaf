import { quote } from "../../components/step/script";

/** Lines for `withLauncher`: what the service runs. */
export const runServer = `serve.mlflow.server._exec_cmd = serve.start
serve.cli(["server"])`;

/** The command line of a Python of a release that runs these lines with the service's launcher as the module `serve`. */
export function withLauncher(
  release: string,
  lines: string,
  environment: Record<string, string> = {},
): string {
  const variables = {
    HOME: "/var/lib/mlflow/tmp",
    MLFLOW_DISABLE_TELEMETRY: "true",
    MLFLOW_VPS_REQUESTS: "3",
    ...environment,
  };
  const program = `import importlib.util, sys
specification = importlib.util.spec_from_file_location("serve", sys.argv.pop())
serve = importlib.util.module_from_spec(specification)
specification.loader.exec_module(serve)
${lines}`;
  const given = Object.entries(variables).map(([name, value]) => quote(`${name}=${value}`));
  return `setpriv --reuid mlflow --regid mlflow --init-groups env --chdir /var/lib/mlflow/tmp ${given.join(" ")} ${release}/bin/python -c ${quote(program)} "$(find /etc/mlflow-vps -name 'mlflow-*.py' -print -quit)"`;
}
