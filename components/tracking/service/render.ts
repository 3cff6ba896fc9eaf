import { managed } from "../../step/script";

/** Workers and job runner by memory: the last row whose `memory` (MB) the host has is taken. */
export const sizes = [
  { memory: 0, workers: 1, jobs: false },
  { memory: 3500, workers: 2, jobs: false },
  { memory: 7000, workers: 4, jobs: true },
] as const;

/** Most workers that the service may have. */
export const mostWorkers = 16;

/**
 * Connections that PostgreSQL must allow. Up to 8 workers make do with the 100 that it allows by itself. One number for more,
 * for PostgreSQL is restarted for it.
 */
export function connectionsFor(workers: number | "auto"): number {
  return workers === "auto" || workers <= 8 ? 100 : 300;
}

/** What each worker may have of the database. */
export interface Share {
  /** Requests that it works on at once; others wait. */
  readonly requests: number;
  /** Connections that an engine keeps. */
  readonly connections: number;
  /** Connections that an engine opens beyond those; -1 for as many as are asked for. */
  readonly overflow: number;
}

/**
 * The share of each of so many workers, so that during a change those of two instances fit in, with 20 connections left for jobs and
 * steps. A request that logs a batch holds one connection while it waits for another: each gets two, so that none waits for one
 * of another request, which would fail after 30 s. Some are for what is not counted as a request.
 */
export function shareOf(workers: number, version: string): Share {
  const each = Math.floor((connectionsFor(workers) - 20) / (2 * workers));
  const requests = Math.min(8, Math.floor(each / 2.5));
  const some = Math.max(1, Math.floor(requests / 2));
  // MLflow 2 has two engines in each worker. Its threads are as many as its requests, which bounds both.
  return version.startsWith("2.")
    ? { requests, connections: some, overflow: -1 }
    : { requests, connections: 2 * requests, overflow: some };
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
    // Two allocation arenas in place of eight per core keep the memory of a small host free.
    MALLOC_ARENA_MAX: 2,
  };
  return Object.entries(variables)
    .map(([name, value]) => `${name}=${value}`)
    .join("\n");
}
