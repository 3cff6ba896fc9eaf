import { managed } from "../../step/script";

/** Workers and job runner by memory: the last row whose `memory` (MB) the host has is taken. */
export const sizes = [
  { memory: 0, workers: 1, jobs: false },
  { memory: 3500, workers: 2, jobs: false },
  { memory: 7000, workers: 4, jobs: true },
] as const;

/**
 * Connections that PostgreSQL must take for the workers of two instances (see `environment_of`), their jobs and the steps.
 * Up to 8 workers they fit into the 100 that it takes by itself. One number for more, for PostgreSQL is restarted for it.
 */
export function connectionsFor(workers: number | "auto"): number {
  return workers === "auto" || workers <= 8 ? 100 : 300;
}

const logFile = "/var/log/mlflow/server.log";

/** Names the release in the environment file. */
const releaseVariable = "MLFLOW_VPS_RELEASE";

/**
 * The systemd unit, the same text for each instance. An instance is the TCP port that it serves, so that a changed service
 * can start beside the one that it follows. Its output goes to the journal and, by way of tee, to a file for people without journal rights.
 *
 * Left out of the sandbox on purpose: PrivateUsers, for the unit would not start where user namespaces are switched off,
 * and PrivateNetwork and IPAddressDeny, for webhooks and the AI gateway call out.
 */
export function renderUnit(account: string, artifacts: string): string {
  const writable = ["/var/lib/mlflow", "/var/log/mlflow", artifacts];
  return `${managed}
[Unit]
Description=MLflow tracking server (%i)
Documentation=https://mlflow.org/docs/latest/
After=network.target postgresql.service
Wants=postgresql.service
# The artifacts may be on a volume of their own. A directory that is missing is named, and nothing is started.
RequiresMountsFor=${artifacts}
${writable.map((directory) => `AssertPathIsDirectory=${directory}`).join("\n")}

[Service]
User=${account}
Group=${account}
WorkingDirectory=/var/lib/mlflow
EnvironmentFile=/etc/mlflow-vps/mlflow-%i.env
# tee outlives the server's SIGTERM, so that its last lines are kept, and ends with the server's output.
ExecStart=/bin/bash -c 'exec "$$${releaseVariable}/bin/python" /etc/mlflow-vps/mlflow-%i.py server > >(trap "" TERM INT; exec tee -a ${logFile}) 2>&1'
# Also when MLflow ends without an error, as it does after a worker of its own was killed.
Restart=always
RestartSec=2
TimeoutStopSec=60

# Writes nowhere but here; ProtectProc would make /run writable again.
ProtectSystem=strict
ReadWritePaths=${writable.join(" ")}
ReadOnlyPaths=/run
ProtectHome=true
PrivateTmp=true
UMask=0077

# Has no privileges and gets none.
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=true
RestrictSUIDSGID=true
RestrictNamespaces=true
RestrictRealtime=true
LockPersonality=true
KeyringMode=private

# Sees no devices and no processes of others, and does not change the kernel's settings.
PrivateDevices=true
DevicePolicy=closed
PrivateIPC=true
RemoveIPC=true
ProtectProc=invisible
ProcSubset=pid
ProtectClock=true
ProtectHostname=true
ProtectControlGroups=true
ProtectKernelLogs=true
ProtectKernelModules=true
ProtectKernelTunables=true
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX

# A refused call is an error, not the end: OpenBLAS tries mbind and goes on without.
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @aio @keyring @memlock
SystemCallErrorNumber=EPERM
MemoryDenyWriteExecute=true

[Install]
WantedBy=multi-user.target`;
}

/** logrotate's settings for the log file and those of the steps; all are appended to, so they can be cut in place. */
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
}

/var/log/mlflow-vps/*.log {
    weekly
    maxsize 10M
    rotate 4
    compress
    missingok
    notifempty
    copytruncate
}`;
}

/** Settings of needrestart, in Perl: it lists the service where it would restart it, at whatever hour packages change. */
export function renderRestartRule(): string {
  return `${managed}
$nrconf{override_rc}{qr(^mlflow@)} = 0;`;
}

export interface Environment {
  /** SQLAlchemy URI without a password. */
  readonly storeUri: string;
  readonly passwordFile: string;
  readonly artifacts: string;
  readonly temporary: string;
  /** Address that it listens on. */
  readonly address: string;
  /** Directory of the release that runs. */
  readonly release: string;
  readonly allowedHosts: readonly string[];
  readonly origins: readonly string[];
  readonly encryptionPassphrase: string;
  readonly webhookKey: string;
}

/** The service's settings, but for its port and what depends on the number of workers. Source: MLflow's environment variables, 3.17. */
export function renderEnvironment(settings: Environment): string {
  const variables = {
    [releaseVariable]: settings.release,
    MLFLOW_BACKEND_STORE_URI: settings.storeUri,
    PGPASSFILE: settings.passwordFile,
    MLFLOW_SERVE_ARTIFACTS: "true",
    MLFLOW_ARTIFACTS_DESTINATION: settings.artifacts,
    // On the file system of the artifacts: an upload is staged here.
    TMPDIR: settings.temporary,
    MLFLOW_HOST: settings.address,
    // An explicit list replaces MLflow's own, so it also names the host itself.
    MLFLOW_SERVER_ALLOWED_HOSTS: [...settings.allowedHosts, `${settings.address}:*`, "localhost:*"].join(","),
    MLFLOW_SERVER_CORS_ALLOWED_ORIGINS: settings.origins.join(","),
    MLFLOW_CRYPTO_KEK_PASSPHRASE: settings.encryptionPassphrase,
    // Without it each process makes a key of its own, and no other one can read what it has written.
    MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY: settings.webhookKey,
    MLFLOW_DISABLE_TELEMETRY: "true",
    HOME: "/var/lib/mlflow",
    GIT_PYTHON_REFRESH: "quiet",
    // What is worked on is bounded (see environment_of): a request that logs a batch holds one connection to the database
    // while it waits for another, so that requests that waited for each other's would fail after 30 s.
    MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW: -1,
    // Two allocation arenas in place of eight per core keep the memory of a small host free.
    MALLOC_ARENA_MAX: 2,
  };
  return Object.entries(variables)
    .map(([name, value]) => `${name}=${value}`)
    .join("\n");
}
