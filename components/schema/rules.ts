/** Rules across settings: each is checked once all the settings that it reads are valid. */
import { isIP } from "node:net";
import { utils } from "ssh2";
import { certificateProblems } from "../entrance/certificate/provided";
import { httpPort, proxyPort, tlsMode } from "./derived";
import type { Problem } from "./problem";
import { type Key, schema, type Values } from "./schema";

export interface Rule {
  readonly of: readonly Key[];
  readonly problems: (values: Values) => readonly Problem[];
}

const rule = <K extends Key>(
  of: readonly K[],
  problems: (values: Pick<Values, K>) => readonly Problem[],
): Rule => ({ of, problems });

const privateKeyOpens = rule(
  ["host.privateKey", "host.privateKeyPassphrase"],
  ({ "host.privateKey": privateKey, "host.privateKeyPassphrase": passphrase }) => {
    const parsed = utils.parseKey(privateKey, passphrase);
    if (!(parsed instanceof Error) && parsed.isPrivateKey()) {
      return [];
    }
    const reason =
      parsed instanceof Error && /encrypted|passphrase/i.test(parsed.message)
        ? `the key has ${passphrase === undefined ? "a" : "another"} passphrase: set host.privateKeyPassphrase ('pulumi config set --path --secret host.privateKeyPassphrase')`
        : `must be ${schema["host.privateKey"].type.description}`;
    return [{ key: "host.privateKey", reason }];
  },
);

const rotatedUsersExist = rule(
  ["users", "rotation.users.<name>"],
  ({ users, "rotation.users.<name>": rotations }) =>
    Object.keys(rotations)
      .filter((user) => !users.includes(user))
      .map((user) => ({
        key: `rotation.users.${user}`,
        reason: `there is no user '${user}' in users (${users.join(", ")})`,
      })),
);

const plainHttpIsMeant = rule(["tls.mode", "tls.allowPlainHttp"], (values) =>
  values["tls.mode"] === "none" && !values["tls.allowPlainHttp"]
    ? [
        {
          key: "tls.mode",
          reason:
            "none sends passwords over the network in clear text: set tls.allowPlainHttp to true if you mean it, or choose another mode",
        },
      ]
    : [],
);

const acmeHasName = rule(["tls.mode", "domain", "host.address"], (values) =>
  tlsMode(values) === "acme" && values.domain === undefined && isIP(values["host.address"]) !== 0
    ? [{ key: "tls.mode", reason: "acme needs a host name: set domain, or choose another mode" }]
    : [],
);

const acmeIsReached = rule(["tls.mode", "domain", "proxy.httpPort"], (values) =>
  tlsMode(values) === "acme" && values["proxy.httpPort"] === 0
    ? [
        {
          key: "proxy.httpPort",
          reason: "must be a port (got 0): with tls.mode acme the certificate authority connects to it",
        },
      ]
    : [],
);

const isProvided = (key: "tls.certificate" | "tls.privateKey") =>
  rule(["tls.mode", key], (values) =>
    values["tls.mode"] === "provided" && values[key] === undefined
      ? [{ key, reason: `is required with tls.mode provided: ${schema[key].type.description}` }]
      : [],
  );

const providedFits = rule(
  ["tls.mode", "tls.certificate", "tls.privateKey", "domain", "host.address"],
  ({ "tls.mode": mode, "tls.certificate": certificate, "tls.privateKey": key, ...values }) =>
    mode === "provided" && certificate !== undefined && key !== undefined
      ? certificateProblems(values.domain ?? values["host.address"], certificate, key).map(
          ({ of, reason }) => ({ key: `tls.${of}`, reason }),
        )
      : [],
);

interface Port {
  readonly name: string;
  readonly of: readonly Key[];
  readonly number: (values: Values) => number | undefined;
}

/** The TCP ports that are taken on the host. */
const ports: readonly Port[] = [
  { name: "database.port", of: ["database.port"], number: (values) => values["database.port"] },
  { name: "host.port", of: ["host.port"], number: (values) => values["host.port"] },
  { name: "proxy.httpPort", of: ["proxy.httpPort", "tls.mode", "domain"], number: httpPort },
  { name: "proxy.port", of: ["proxy.port", "tls.mode", "domain"], number: proxyPort },
  { name: "service.port", of: ["service.port"], number: (values) => values["service.port"] },
  // The service has two ports: a changed one starts beside the one that it follows.
  { name: "service.port + 1", of: ["service.port"], number: (values) => values["service.port"] + 1 },
];

const portsDiffer = ports.flatMap((one, index) =>
  ports.slice(index + 1).map((other) =>
    rule([...one.of, ...other.of], (values) => {
      const number = one.number(values as Values);
      return number !== undefined && number === other.number(values as Values)
        ? [{ key: one.name, reason: `must be another port than ${other.name} (got ${number} for both)` }]
        : [];
    }),
  ),
);

export const rules: readonly Rule[] = [
  privateKeyOpens,
  rotatedUsersExist,
  plainHttpIsMeant,
  acmeHasName,
  acmeIsReached,
  isProvided("tls.certificate"),
  isProvided("tls.privateKey"),
  providedFits,
  ...portsDiffer,
];
