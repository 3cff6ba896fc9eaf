import { MlflowServer } from "./components/mlflowServer";
import { readStackConfig } from "./config/stackConfig";

const server = new MlflowServer("mlflow", readStackConfig());

export const trackingUri = server.trackingUri;
export const users = server.users;
export const clientEnv = server.clientEnv;
export const caCertificate = server.caCertificate;
export const mlflowVersion = server.mlflowVersion;
export const artifactsDirectory = server.artifactsDirectory;
export const databaseName = server.databaseName;
