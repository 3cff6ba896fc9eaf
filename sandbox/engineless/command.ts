import { executeShared } from "../../components/step/sharedLogin";
import { type Connection, execute } from "../../components/step/ssh";

export interface CommandInputs {
  readonly connection: Connection;
  readonly create: string;
  readonly delete: string;
  readonly stdin: string;
}

const applySeconds = 1800;

// An engine logs in for each command. For a test that is most of its time, and only the firewall shows a difference.
const stepsThatNeedLogins = /^mlflow-firewall-/;

/**
 * Runs a step's command on the host, shows what it says, and fails when it fails.
 *
 * @returns whether it said anything
 */
export async function run(
  name: string,
  command: CommandInputs,
  action: "create" | "delete",
): Promise<boolean> {
  const { connection, stdin } = command;
  let saidSomething = false;
  const show = (text: string) => {
    saidSomething = true;
    process.stdout.write(text.replace(/^(?=.)/gm, "  "));
  };
  const finished = stepsThatNeedLogins.test(name)
    ? await execute(connection, command[action], stdin, applySeconds, show)
    : await executeShared(connection, command[action], stdin, applySeconds, show);
  if (finished.code !== 0) {
    throw new Error(finished.stderr.trim() || `'${command[action]}' exited ${finished.code}`);
  }
  return saidSomething;
}
