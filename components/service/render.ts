import { managed } from "../step/script";

/** Workers and job runner by memory: the last row whose `memory` (MB) the host has is taken. */
export const sizes = [
  { memory: 0, workers: 1, jobs: false },
  { memory: 3500, workers: 2, jobs: false },
  { memory: 7000, workers: 4, jobs: true },
] as const;

const logFile = "/var/log/mlflow/server.log";

/** The systemd unit. Its output goes to the journal and, by way of tee, to a file for people without journal rights. */
export function renderUnit(account: string, release: string): string {
  return `${managed}
[Unit]
Description=MLflow tracking server
Documentation=https://mlflow.org/docs/latest/
After=network.target postgresql.service
Wants=postgresql.service

[Service]
User=${account}
Group=${account}
WorkingDirectory=/var/lib/mlflow
EnvironmentFile=/etc/mlflow-vps/mlflow.env
# tee outlives the server's SIGTERM, so that its last lines are kept, and ends with the server's output.
ExecStart=/bin/bash -c 'exec "$$0" server > >(trap "" TERM INT; exec tee -a ${logFile}) 2>&1' ${release}/bin/mlflow
Restart=on-failure
RestartSec=2
TimeoutStopSec=60
UMask=0027
NoNewPrivileges=true
PrivateTmp=true
ProtectHome=true
ProtectSystem=full

[Install]
WantedBy=multi-user.target`;
}

/** logrotate's settings for the log file; tee appends, so the file can be cut in place. */
export function renderLogRotation(account: string): string {
  return `${managed}
${logFile} {
    su ${account} adm
    weekly
    maxsize 50M
    rotate 8
    compress
    missingok
    notifempty
    copytruncate
}`;
}

export interface Environment {
  /** SQLAlchemy URI without a password. */
  readonly storeUri: string;
  readonly passwordFile: string;
  readonly artifacts: string;
  readonly temporary: string;
  readonly port: number;
  readonly allowedHosts: readonly string[];
  readonly origins: readonly string[];
  readonly encryptionPassphrase: string;
}

/** The service's settings, but for what the host's memory decides. Source: MLflow's environment variables, 3.17. */
export function renderEnvironment(settings: Environment): string {
  const variables = {
    MLFLOW_BACKEND_STORE_URI: settings.storeUri,
    PGPASSFILE: settings.passwordFile,
    MLFLOW_SERVE_ARTIFACTS: "true",
    MLFLOW_ARTIFACTS_DESTINATION: settings.artifacts,
    // On the file system of the artifacts: an upload is staged here.
    TMPDIR: settings.temporary,
    MLFLOW_HOST: "127.0.0.1",
    MLFLOW_PORT: settings.port,
    // An explicit list replaces MLflow's own, so it also names the host itself.
    MLFLOW_SERVER_ALLOWED_HOSTS: [...settings.allowedHosts, "127.0.0.1:*", "localhost:*"].join(","),
    MLFLOW_SERVER_CORS_ALLOWED_ORIGINS: settings.origins.join(","),
    MLFLOW_CRYPTO_KEK_PASSPHRASE: settings.encryptionPassphrase,
    MLFLOW_DISABLE_TELEMETRY: "true",
    HOME: "/var/lib/mlflow",
    GIT_PYTHON_REFRESH: "quiet",
    // Two allocation arenas in place of eight per core keep the memory of a small host free.
    MALLOC_ARENA_MAX: 2,
  };
  return Object.entries(variables)
    .map(([name, value]) => `${name}=${value}`)
    .join("\n");
}
