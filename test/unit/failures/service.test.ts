import { testSteps } from "./step";
import type { State } from "./world";

const before = ["runtime", "certificate", "database", "schema"];
const env = "/etc/mlflow-vps/mlflow-5001.env";

/** Which of the two ports serves, and when a dump was made, may differ. */
function alike(state: State): State {
  const [, serving] =
    /^server 127\.0\.0\.1:(\d+)/m.exec(state.get("/etc/mlflow-vps/upstream.conf") ?? "") ?? [];
  const rename = (text: string) =>
    (serving === "5002"
      ? text.replace(/500[12]/g, (port) => (port === "5001" ? "5002" : "5001"))
      : text
    ).replace(/\d{8}T\d{6}Z/g, "DATE");
  return new Map(
    [...state]
      .map(([path, text]) => [rename(path), rename(text)] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** What an upgrade has not taken away any more, the next one does. */
const withoutOldReleases = (state: State): State =>
  alike(
    new Map(
      [...state].filter(([path]) => !/^\/opt\/mlflow\/releases\/3\.1[56]|before-3\.15\.0\.dump$/.test(path)),
    ),
  );

/** A server of the version before, with data in it and dumps of earlier upgrades. */
const upgraded = {
  earlier: {
    config: { "mlflow.version": "3.16.1" },
    steps: [...before, "service", "proxy"],
  },
  host: `echo row=1 >>"$WORLD/.state/pg/databases/tracking/data"
      echo 'an artifact' >/srv/mlflow/artifacts/1.artifact
      mkdir /opt/mlflow/releases/3.15.0-aaaaaaaa
      install -d -m 0700 /var/backups/mlflow-vps
      for dump in tracking-20250101T000000Z-before-adoption tracking-20250102T000000Z-before-3.15.0 \\
        tracking-20250103T000000Z-before-3.16.0 other-20250101T000000Z-before-3.16.0; do
        echo "$dump" >"/var/backups/mlflow-vps/$dump.dump"
      done`,
  alike: withoutOldReleases,
};

testSteps([
  {
    ...upgraded,
    step: "schema",
    after: ["runtime"],
    damages: {
      "the schema of another release": `sed -i s/^schema=.*/schema=schema-of-3.16.1/ "$WORLD/.state/pg/databases/tracking/data"`,
      "a rehearsal that was interrupted": "cp /etc/mlflow-vps/pgpass /etc/mlflow-vps/pgpass-rehearsal",
    },
  },
  {
    step: "service",
    after: before,
    followedBy: ["proxy"],
    damages: {
      "another environment": `echo X=y >>${env}`,
      "another unit": "echo '# changed' >>/etc/systemd/system/mlflow@5001.service",
      "another upstream": "echo 'server 127.0.0.1:9;' >/etc/mlflow-vps/upstream.conf",
      "a service that does not start at boot":
        "rm /etc/systemd/system/multi-user.target.wants/mlflow@5001.service",
      "a release that was put right": "touch /opt/mlflow/releases/*/.contents",
      "a directory for everybody to read": "chmod 777 /srv/mlflow/artifacts",
      "no rotation of logs": "rm /etc/logrotate.d/mlflow",
      "libraries that were replaced":
        "echo '7f00 r-xp 00000000 08:01 1 /usr/local/lib/libx.so (deleted)' >/proc/5001/maps",
      "a service that is stopped": "systemctl stop mlflow@5001.service",
    },
    alike,
  },
  {
    ...upgraded,
    step: "service",
    title: "service, upgraded",
    after: ["runtime", "schema"],
    applyOnly: true,
  },
]);
