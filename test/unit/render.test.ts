import { describe, expect, test } from "vitest";
import { passwordLine } from "../../components/database/database";
import { renderClientEnv } from "../../components/mlflowServer";
import { hostHeaders, origin, renderSite, urlHost } from "../../components/proxy/render";
import { renderEnvironment, renderLogRotation, renderUnit, sizes } from "../../components/service/render";
import { managed } from "../../components/step/script";

const release = "/opt/mlflow/releases/3.17.2-0123abcd";
const site = {
  names: ["mlflow.example.org", "192.0.2.10"],
  port: 80,
  servicePort: 5000,
  usersFile: "/etc/users",
};
const environment = {
  storeUri: "postgresql+psycopg2://mlflow@127.0.0.1:5432/mlflow",
  passwordFile: "/etc/mlflow-vps/pgpass",
  artifacts: "/var/lib/mlflow/artifacts",
  temporary: "/var/lib/mlflow/tmp",
  port: 5000,
  allowedHosts: ["mlflow.example.org", "mlflow.example.org:80"],
  origins: ["http://mlflow.example.org"],
  encryptionPassphrase: "PASSPHRASE",
};

describe("every file on the host", () => {
  test.each([
    ["the unit", renderUnit("mlflow", release)],
    ["the log rotation", renderLogRotation("mlflow")],
    ["the site", renderSite(site)],
  ])("says in its first line who manages it: %s", (_, text) => {
    expect(text.split("\n")[0]).toBe(managed);
    expect(managed).toMatch(/^# Managed by mlflow-vps: /);
  });

  test.each([
    ["the unit", renderUnit("mlflow", release)],
    ["the log rotation", renderLogRotation("mlflow")],
    ["the environment", renderEnvironment(environment)],
    ["the site", renderSite(site)],
  ])("ends without an empty line, which the check could not see: %s", (_, text) => {
    expect(text).toBe(text.trimEnd());
  });
});

describe("the service", () => {
  test("has this unit", () => {
    expect(renderUnit("mlflow", release)).toMatchInlineSnapshot(`
      "# Managed by mlflow-vps: edits here are found by the drift check and undone by the next up.
      [Unit]
      Description=MLflow tracking server
      Documentation=https://mlflow.org/docs/latest/
      After=network.target postgresql.service
      Wants=postgresql.service

      [Service]
      User=mlflow
      Group=mlflow
      WorkingDirectory=/var/lib/mlflow
      EnvironmentFile=/etc/mlflow-vps/mlflow.env
      # tee outlives the server's SIGTERM, so that its last lines are kept, and ends with the server's output.
      ExecStart=/bin/bash -c 'exec "$$0" server > >(trap "" TERM INT; exec tee -a /var/log/mlflow/server.log) 2>&1' /opt/mlflow/releases/3.17.2-0123abcd/bin/mlflow
      Restart=on-failure
      RestartSec=2
      TimeoutStopSec=60
      UMask=0027
      NoNewPrivileges=true
      PrivateTmp=true
      ProtectHome=true
      ProtectSystem=full

      [Install]
      WantedBy=multi-user.target"
    `);
  });

  test("has this environment", () => {
    expect(renderEnvironment(environment)).toMatchInlineSnapshot(`
      "MLFLOW_BACKEND_STORE_URI=postgresql+psycopg2://mlflow@127.0.0.1:5432/mlflow
      PGPASSFILE=/etc/mlflow-vps/pgpass
      MLFLOW_SERVE_ARTIFACTS=true
      MLFLOW_ARTIFACTS_DESTINATION=/var/lib/mlflow/artifacts
      TMPDIR=/var/lib/mlflow/tmp
      MLFLOW_HOST=127.0.0.1
      MLFLOW_PORT=5000
      MLFLOW_SERVER_ALLOWED_HOSTS=mlflow.example.org,mlflow.example.org:80,127.0.0.1:*,localhost:*
      MLFLOW_SERVER_CORS_ALLOWED_ORIGINS=http://mlflow.example.org
      MLFLOW_CRYPTO_KEK_PASSPHRASE=PASSPHRASE
      MLFLOW_DISABLE_TELEMETRY=true
      HOME=/var/lib/mlflow
      GIT_PYTHON_REFRESH=quiet
      MALLOC_ARENA_MAX=2"
    `);
  });

  test("has its logs rotated like this", () => {
    expect(renderLogRotation("mlflow")).toMatchInlineSnapshot(`
      "# Managed by mlflow-vps: edits here are found by the drift check and undone by the next up.
      /var/log/mlflow/server.log {
          su mlflow adm
          weekly
          maxsize 50M
          rotate 8
          compress
          missingok
          notifempty
          copytruncate
      }"
    `);
  });

  test("has one line for each variable, none twice, none empty", () => {
    const lines = renderEnvironment(environment).split("\n");
    const names = lines.map((line) => /^([A-Z_]+)=.+$/.exec(line)?.[1]);
    expect(names).not.toContain(undefined);
    expect(new Set(names).size).toBe(names.length);
  });

  test("leaves workers and jobs to the host, which knows its memory", () => {
    expect(renderEnvironment(environment)).not.toMatch(/WORKERS|JOB_EXECUTION/);
  });

  test("gets more workers, and at last the job runner, with more memory; the smallest size fits every host", () => {
    expect(sizes[0]).toEqual({ memory: 0, workers: 1, jobs: false });
    for (const [index, size] of sizes.entries()) {
      const before = sizes[index - 1];
      expect(size.memory).toBeGreaterThan(before?.memory ?? -1);
      expect(size.workers).toBeGreaterThan(before?.workers ?? 0);
      expect(before?.jobs === true && !size.jobs).toBe(false);
    }
  });
});

describe("the nginx site", () => {
  test("of a name and an address is this", () => {
    expect(renderSite(site)).toMatchInlineSnapshot(`
      "# Managed by mlflow-vps: edits here are found by the drift check and undone by the next up.
      map $http_upgrade $mlflow_vps_connection {
          default upgrade;
          ''      '';
      }

      upstream mlflow_vps {
          server 127.0.0.1:5000;
          keepalive 16;
      }

      server {
          listen 80;
          listen [::]:80;
          server_name mlflow.example.org 192.0.2.10;

          auth_basic "MLflow";
          auth_basic_user_file /etc/users;

          # MLflow holds every other request in memory.
          client_max_body_size 64m;

          # Long requests: large artifacts, traces, searches over many runs.
          proxy_read_timeout 1h;
          proxy_send_timeout 1h;

          # Closed: the assistant trusts local callers, and behind a proxy everybody is local (GHSA-7xcw-g7v8-rq26);
          # metrics have no authentication of their own.
          location ~ ^/+(ajax-)?api/[0-9.]+/mlflow/assistant { return 404; }
          location ~ ^/+metrics { return 404; }

          proxy_http_version 1.1;
          proxy_set_header Upgrade $http_upgrade;
          proxy_set_header Connection $mlflow_vps_connection;
          proxy_set_header Host $http_host;
          proxy_set_header X-Forwarded-For $remote_addr;
          proxy_set_header X-Forwarded-Host $http_host;
          proxy_set_header X-Forwarded-Proto $scheme;
          proxy_set_header X-Real-IP $remote_addr;
          # The password is for nginx only.
          proxy_set_header Authorization "";

          # The client's artifacts, of any size, stream through: MLflow reads and writes them at the client's speed.
          location ~ ^/(ajax-)?api/[0-9.]+/mlflow-artifacts/artifacts/ {
              client_max_body_size 0;
              proxy_request_buffering off;
              proxy_max_temp_file_size 0;
              proxy_pass http://mlflow_vps;
          }

          # Server-sent events and model answers pass on as they come.
          location /gateway/ {
              proxy_buffering off;
              proxy_pass http://mlflow_vps;
          }

          # A download in the web interface is not read at the client's speed but kept in memory by MLflow, so nginx takes it
          # over on disk for as long as it lasts.
          location / {
              proxy_max_temp_file_size 20480m;
              proxy_pass http://mlflow_vps;
          }
      }"
    `);
  });

  /** What differs from the site above, line by line. */
  const differences = (change: Partial<typeof site>) => {
    const before = renderSite(site).split("\n");
    const after = renderSite({ ...site, ...change }).split("\n");
    expect(after).toHaveLength(before.length);
    return after.filter((line, index) => line !== before[index]).map((line) => line.trim());
  };

  test("on another port listens there, on IPv4 and IPv6", () => {
    expect(differences({ port: 8080 })).toEqual(["listen 8080;", "listen [::]:8080;"]);
  });

  test("of an IPv6 address has it in brackets", () => {
    expect(differences({ names: ["2001:db8::10"] })).toEqual(["server_name [2001:db8::10];"]);
  });

  test("leads to the service's port, and asks the users' file", () => {
    expect(differences({ servicePort: 5001 })).toEqual(["server 127.0.0.1:5001;"]);
    expect(differences({ usersFile: "/etc/others" })).toEqual(["auth_basic_user_file /etc/others;"]);
  });

  test("has no variable and no upstream that could meet another site's", () => {
    const text = renderSite(site);
    expect([...text.matchAll(/^(?:map \S+ \$|upstream )(\w+)/gm)].map(([, name]) => name)).toEqual([
      "mlflow_vps_connection",
      "mlflow_vps",
    ]);
  });
});

describe("the addresses of the server", () => {
  test.each([
    ["mlflow.example.org", 80, "http://mlflow.example.org"],
    ["mlflow.example.org", 8080, "http://mlflow.example.org:8080"],
    ["192.0.2.10", 80, "http://192.0.2.10"],
    ["2001:db8::10", 80, "http://[2001:db8::10]"],
    ["2001:db8::10", 8080, "http://[2001:db8::10]:8080"],
  ])("of %s on port %i are under %s, as a browser writes it", (name, port, expected) => {
    expect(origin(name, port)).toBe(expected);
    expect(new URL(expected).origin).toBe(expected);
  });

  test("in a Host header may have the port or not", () => {
    expect(hostHeaders(["mlflow.example.org", "2001:db8::10"], 8080)).toEqual([
      "mlflow.example.org",
      "mlflow.example.org:8080",
      "[2001:db8::10]",
      "[2001:db8::10]:8080",
    ]);
    expect(hostHeaders(["vps"], 80)).toEqual(["vps", "vps:80"]);
  });

  test("have brackets around IPv6 only", () => {
    expect(["::1", "127.0.0.1", "vps"].map(urlHost)).toEqual(["[::1]", "127.0.0.1", "vps"]);
  });
});

describe("the client's variables", () => {
  test("are those of the named user", () => {
    expect(
      renderClientEnv("http://vps:8080", "grace", { ada: "PASSWORD-1", grace: "PASSWORD-2" }),
    ).toMatchInlineSnapshot(`
      "MLFLOW_TRACKING_URI=http://vps:8080
      MLFLOW_TRACKING_USERNAME=grace
      MLFLOW_TRACKING_PASSWORD=PASSWORD-2
      "
    `);
  });
});

describe("the line of the password file", () => {
  test("names host, port, database, role and password", () => {
    expect(passwordLine(5432, "mlflow", "owner", "PASSWORD")).toBe("127.0.0.1:5432:mlflow:owner:PASSWORD");
  });

  test("escapes what separates its fields, and the backslash, as libpq reads it", () => {
    expect(passwordLine(5432, "a:b", "c\\d", "\\:'\" ")).toBe("127.0.0.1:5432:a\\:b:c\\\\d:\\\\\\:'\" ");
  });
});
