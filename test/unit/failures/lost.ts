import type { Action } from "../../../components/step/script";
import type { State } from "./world";

/** What belongs to others, or is data: nothing ever takes it away, however a run ends. */
const others = [
  "/etc/nginx/sites-available/grafana",
  "/etc/nginx/sites-enabled/grafana",
  "/etc/apt/apt.conf.d/50unattended-upgrades",
  "/etc/os-release",
  "/.state/pg/databases/grafana/",
  "/.state/pg/roles/grafana",
  "/.state/pg/roles/postgres",
  "/var/backups/mlflow-vps/other-20250101T000000Z-before-3.16.0.dump",
  "/var/backups/mlflow-vps/tracking-20250101T000000Z-before-adoption.dump",
];

const contentOf = (state: State, path: string) => state.get(path)?.split("\n").slice(1) ?? [];

const mark = "# mlflow-vps";

/** A line for each thing that was there before, and is not any more, though it must be. */
export function lost(before: State, after: State, action: Action): string[] {
  const gone: string[] = [];
  for (const [path, was] of before) {
    if (others.some((other) => path === other || (other.endsWith("/") && path.startsWith(other)))) {
      if (after.get(path) !== was) {
        gone.push(`${path}, which belongs to somebody else: ${after.get(path) ?? "not there"}`);
      }
    }
  }
  // Others' lines in the file, and what PostgreSQL has read of it.
  for (const path of ["/etc/postgresql/15/main/pg_hba.conf", "/.state/pg/access"]) {
    const lines = contentOf(after, path);
    gone.push(
      ...contentOf(before, path)
        .filter((line) => !line.endsWith(mark) && !lines.includes(line))
        .map((line) => `the line '${line}' of ${path}`),
    );
  }
  gone.push(...lostRows(before, after), ...lostArtifacts(before, after), ...lockedOut(after));
  if (action === "apply") {
    gone.push(...lostAccess(before, after));
  }
  return gone;
}

/** Rows of a database must be in one, or in a dump, or both. */
function lostRows(before: State, after: State): string[] {
  const rows = (state: State) =>
    [...state]
      .filter(([path]) => /^\/\.state\/pg\/databases\/(?!mlflow_vps_rehearsal)[^/]*\/data$/.test(path))
      .flatMap(([, text]) => text.split("\n").filter((line) => line.startsWith("row=")));
  const now = rows(after);
  return rows(before)
    .filter((row) => !now.includes(row))
    .map((row) => `${row} of the database`);
}

function lostArtifacts(before: State, after: State): string[] {
  const artifacts = (state: State) =>
    [...state].filter(([path]) => path.endsWith(".artifact")).map(([path]) => path.replace(/.*\//, ""));
  const now = artifacts(after);
  return artifacts(before)
    .filter((name) => !now.includes(name))
    .map((name) => `the artifact ${name}`);
}

/** Rules that are in force, or kept, let SSH in. */
function lockedOut(after: State): string[] {
  return ["/.state/network/table", "/etc/mlflow-vps/firewall.nft"].filter((path) => {
    const rules = after.get(path);
    return (
      rules !== undefined &&
      !rules.includes("established only") &&
      !rules.includes("tcp dport { 2222 } accept")
    );
  });
}

/** Who could enter, and what served, goes on to. */
function lostAccess(before: State, after: State): string[] {
  const gone: string[] = [];
  const users = (state: State) =>
    contentOf(state, "/etc/mlflow-vps/htpasswd")
      .filter((line) => /^(ada|grace):\{SSHA\}./.test(line))
      .map((line) => line.split(":")[0]);
  gone.push(
    ...users(before)
      .filter((user) => !users(after).includes(user))
      .map((user) => `the login of ${user}`),
  );

  const certificate = (state: State) => contentOf(state, "/etc/mlflow-vps/server.pem").join(" ");
  const whole = /PRIVATE KEY of .*CERTIFICATE of /;
  if (whole.test(certificate(before)) && !whole.test(certificate(after))) {
    gone.push(`the certificate: ${certificate(after)}`);
  }
  if (serves(before) && !serves(after)) {
    gone.push("the service: nginx leads to nothing that runs");
  }
  const handmade = "/.state/units/handmade.service/pid";
  const isLeft = after.has("/.state/pg/databases/handmade") && !after.has("/etc/mlflow-vps/adoption");
  if (before.has(handmade) && isLeft && !after.has(handmade)) {
    gone.push("the unmanaged server: it is stopped, and no run will resume");
  }
  if (before.has("/.state/units/nginx.service/pid") && !after.has("/.state/units/nginx.service/pid")) {
    gone.push("nginx, which was running");
  }
  return gone;
}

/** Whether nginx, as it has read its files, leads to an instance that runs, from a release that is there. */
const serves = (state: State) =>
  contentOf(state, "/.state/nginx-upstream")
    .flatMap((line) => /^server 127\.0\.0\.1:(\d+)/.exec(line)?.[1] ?? [])
    .some((port) => {
      const [, release] =
        /^MLFLOW_VPS_RELEASE=(.*)/m.exec(state.get(`/etc/mlflow-vps/mlflow-${port}.env`) ?? "") ?? [];
      return state.has(`/.state/units/mlflow@${port}.service/pid`) && state.has(`${release}/bin/mlflow`);
    });
