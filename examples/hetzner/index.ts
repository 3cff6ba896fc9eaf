import * as command from "@pulumi/command";
import * as hcloud from "@pulumi/hcloud";
import * as pulumi from "@pulumi/pulumi";
import * as tls from "@pulumi/tls";
import { MlflowServer } from "mlflow-vps";

const login = new tls.PrivateKey("login", { algorithm: "ED25519" });
const hostKey = new tls.PrivateKey("host-key", { algorithm: "ED25519" });

/** Gives the VPS the host key that is known here, so that not even the first login trusts an unknown one. */
const userData = pulumi
  .all([hostKey.privateKeyOpenssh, hostKey.publicKeyOpenssh])
  .apply(([ed25519_private, ed25519_public]) => {
    const settings = {
      ssh_deletekeys: true,
      ssh_keys: { ed25519_private, ed25519_public },
    };
    return `#cloud-config\n${JSON.stringify(settings)}\n`; // JSON is YAML too
  });

const vps = new hcloud.Server("mlflow", {
  serverType: "cx23",
  image: "debian-12",
  location: "nbg1",
  sshKeys: [new hcloud.SshKey("login", { publicKey: login.publicKeyOpenssh }).id],
  userData,
});

const access = {
  user: "root",
  privateKey: login.privateKeyOpenssh,
  hostKey: hostKey.publicKeyOpenssh.apply((line) => line.trim()),
};

/** A new VPS answers after some 20 seconds, and is at work with itself for some more. */
const booted = new command.remote.Command("booted", {
  connection: { ...access, host: vps.ipv4Address, dialErrorLimit: 60 },
  create: "cloud-init status --wait",
});

const server = new MlflowServer("mlflow", {
  host: { ...access, address: pulumi.all([vps.ipv4Address, booted.id]).apply(([address]) => address) },
  users: ["ada"],
  firewall: true,
});

export const trackingUri = server.trackingUri;
export const users = server.users;
export const clientEnv = server.clientEnv;
export const caCertificate = server.caCertificate;
