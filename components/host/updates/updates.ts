import type * as pulumi from "@pulumi/pulumi";
import { type HostArgs, Step } from "../../step/step";
import { renderSchedule, renderSettings } from "./render";

export interface UpdatesArgs extends HostArgs {
  /** When security updates are installed each day: HH:MM in the host's time zone. Changing it starts nothing. */
  readonly time: string;
}

/** Security updates by unattended-upgrades, at one time of the day. Without it, the distribution's own settings apply. */
export class Updates extends Step {
  constructor(name: string, args: UpdatesArgs, opts?: pulumi.ComponentResourceOptions) {
    super(
      "mlflow:updates:Updates",
      name,
      {
        connection: args.connection,
        step: "updates",
        folder: __dirname,
        scripts: ["updates"],
        uses: ["commands", "systemd"],
        settings: { time: args.time },
        payload: {
          aptSettings: renderSettings(),
          schedule: renderSchedule(args.time),
          scheduleAtStart: renderSchedule(args.time, true),
        },
      },
      opts,
    );
  }
}
