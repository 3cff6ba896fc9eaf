import { readConfig } from "./components/config";
import { MlflowServer } from "./components/mlflowServer";

const server = new MlflowServer("mlflow", readConfig());

export const trackingUri = server.trackingUri;
export const users = server.users;
export const clientEnv = server.clientEnv;
export const caCertificate = server.caCertificate;
export const mlflowVersion = server.mlflowVersion;
export const artifactsDirectory = server.artifactsDirectory;
export const databaseName = server.databaseName;
