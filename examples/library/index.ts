import * as pulumi from "@pulumi/pulumi";
import { MlflowServer } from "mlflow-vps";

const config = new pulumi.Config();
const login = { user: "root", privateKey: config.requireSecret("privateKey") };

/** Where the team works. */
const team = new MlflowServer("team", {
  host: { ...login, address: config.require("teamAddress"), hostKey: config.require("teamHostKey") },
  users: ["ada", "grace"],
  firewall: true,
});

/** Where upgrades are tried first; it may be thrown away. */
const trial = new MlflowServer("trial", {
  host: { ...login, address: config.require("trialAddress"), hostKey: config.require("trialHostKey") },
  users: ["ada"],
  data: { deleteOnDestroy: true },
});

export const trackingUris = { team: team.trackingUri, trial: trial.trackingUri };
export const passwords = { team: team.users, trial: trial.users };
export const caCertificates = { team: team.caCertificate, trial: trial.caCertificate };
