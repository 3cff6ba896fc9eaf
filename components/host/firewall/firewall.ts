import type * as pulumi from "@pulumi/pulumi";
import { type HostArgs, Step, type StepArgs } from "../../step/step";
import { renderRules, renderUnit } from "./render";

export interface FirewallRules {
  /**
   * `trial` puts the rules in force for a while; `kept`, which must come after it, confirms them by arriving on a
   * connection of its own, and has them loaded at boot. Without it the host rolls back to the rules that were kept before.
   */
  readonly phase: "trial" | "kept";
  /** TCP ports that are open beside those of SSH, one or more. A change ends no connection. */
  readonly ports: readonly number[];
  /** Seconds that rules on trial have to be confirmed; a login may take 30. @default 120 */
  readonly rollbackSeconds?: number;
}

/** What the step of one phase is made of. */
export function firewallStep({ phase, ports, rollbackSeconds = 120 }: FirewallRules) {
  const rulesFile = "/etc/mlflow-vps/firewall.nft";
  return {
    step: `firewall-${phase}`,
    folder: __dirname,
    scripts: ["ssh", "rules", "trial", "kept", "firewall"],
    uses: ["commands", "systemd"],
    settings: { phase, ports: ports.map(String) },
    payload: { rollbackSeconds, rulesFile, rules: renderRules(ports), unit: renderUnit(rulesFile) },
  } satisfies Omit<StepArgs, "connection">;
}

export interface FirewallArgs extends HostArgs, FirewallRules {}

/** Opens only SSH and the given ports, by a table of nftables of its own. Rules that cut SSH off are rolled back. */
export class Firewall extends Step {
  constructor(name: string, args: FirewallArgs, opts?: pulumi.ComponentResourceOptions) {
    super("mlflow:firewall:Firewall", name, { connection: args.connection, ...firewallStep(args) }, opts);
  }
}
