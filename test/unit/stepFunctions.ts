import { parts } from "../../components/step/library";
import { renderScript, type Values } from "../../components/step/script";
import { type Ended, startBashIn } from "./bash";
import { bodyOf } from "./stepScripts";

/** Runs bash with this on its input, as a host does; everything of the system that is named in it lies in the directory. */
function runBash(script: string, directory: string): Promise<Ended> {
  const moved = script.replaceAll(
    /(?<![\w$}/])\/(etc\/(nginx|mlflow-vps|letsencrypt|systemd)|run\/mlflow-vps|var\/(log|backups)\/mlflow-vps|sys\/fs|proc\/(?!self|net))/g,
    `${directory}$&`,
  );
  return startBashIn(directory, moved, []).ended;
}

/**
 * Runs lines of bash with the functions of a step and of the library. Functions that the lines define stand in for the
 * commands and functions of the same name.
 */
export function runFunctions(step: string, values: Values, lines: string, directory: string): Promise<Ended> {
  const script = renderScript("tiny", { stack: "project/test", ...values }, parts, bodyOf(step));
  const call = 'main "$@" </dev/null\n';
  if (!script.endsWith(call)) {
    throw new Error("a rendered script does not end with the call");
  }
  return runBash(`${script.slice(0, -call.length)}${lines}\n`, directory);
}
