import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { passwordLine } from "../../components/data/database/database";
import { hostHeaders, origin, renderSite, type Site, urlHost } from "../../components/entrance/proxy/render";
import {
  renderUnit as renderFirewallUnit,
  renderRules,
  sshPorts,
} from "../../components/host/firewall/render";
import { renderSchedule, renderSettings } from "../../components/host/updates/render";
import { renderClientEnv } from "../../components/mlflowServer";
import { schema } from "../../components/schema/schema";
import { managed } from "../../components/step/script";
import {
  connectionsFor,
  mostWorkers,
  renderEnvironment,
  renderLogRotation,
  renderRestartRule,
  renderUnit,
  shareOf,
  sizes,
} from "../../components/tracking/service/render";

const site: Site = {
  names: ["mlflow.example.org", "192.0.2.10"],
  port: 443,
  secure: true,
  httpPort: 80,
  upstreamFile: "/etc/mlflow-vps/upstream.conf",
  usersFile: "/etc/users",
  certificateFile: "/etc/server.pem",
  strictTransport: false,
};
const environment = {
  storeUri: "postgresql+psycopg2://mlflow@127.0.0.1:5432/mlflow",
  passwordFile: "/etc/mlflow-vps/pgpass",
  artifacts: "/var/lib/mlflow/artifacts",
  temporary: "/var/lib/mlflow/tmp",
  address: "127.0.0.1",
  release: "/opt/mlflow/releases/3.17.2-0123abcd",
  allowedHosts: ["mlflow.example.org", "mlflow.example.org:80"],
  origins: ["http://mlflow.example.org"],
  encryptionPassphrase: "PASSPHRASE",
  webhookKey: "WEBHOOK_KEY",
};

describe("every file on the host", () => {
  test.each([
    ["the unit", renderUnit("mlflow", "/var/lib/mlflow/artifacts")],
    ["the log rotation", renderLogRotation("mlflow")],
    ["the rule for needrestart", renderRestartRule()],
    ["apt's settings", renderSettings()],
    ["the schedule of the updates", renderSchedule("04:00")],
    ["the site", renderSite(site)],
    ["the firewall's rules", renderRules([80])],
    ["the firewall's unit", renderFirewallUnit("/etc/rules")],
  ])("says in its first line who manages it: %s", (_, text) => {
    expect(text.split("\n")[0]).toBe(managed);
    expect(managed).toMatch(/^# Managed by mlflow-vps: /);
  });

  test.each([
    ["the unit", renderUnit("mlflow", "/var/lib/mlflow/artifacts")],
    ["the log rotation", renderLogRotation("mlflow")],
    ["the rule for needrestart", renderRestartRule()],
    ["apt's settings", renderSettings()],
    ["the schedule of the updates", renderSchedule("04:00")],
    ["the environment", renderEnvironment(environment)],
    ["the site", renderSite(site)],
    ["the firewall's rules", renderRules([80])],
    ["the firewall's unit", renderFirewallUnit("/etc/rules")],
  ])("ends without an empty line, which the check could not see: %s", (_, text) => {
    expect(text).toBe(text.trimEnd());
  });
});

describe("the service", () => {
  test("has this unit", () => {
    expect(renderUnit("mlflow", "/var/lib/mlflow/artifacts")).toMatchInlineSnapshot(`
      "# Managed by mlflow-vps: edits here are found by the drift check and undone by the next up.
      [Unit]
      Description=MLflow tracking server (%i)
      Documentation=https://mlflow.org/docs/latest/
      After=network.target postgresql.service
      Wants=postgresql.service
      # The artifacts may be on a volume of their own. A directory that is missing is named, and nothing is started.
      RequiresMountsFor=/var/lib/mlflow/artifacts
      AssertPathIsDirectory=/var/lib/mlflow
      AssertPathIsDirectory=/var/log/mlflow
      AssertPathIsDirectory=/var/lib/mlflow/artifacts

      [Service]
      User=mlflow
      Group=mlflow
      WorkingDirectory=/var/lib/mlflow
      EnvironmentFile=/etc/mlflow-vps/mlflow-%i.env
      # tee outlives the server's SIGTERM, so that its last lines are kept, and ends with the server's output.
      ExecStart=/bin/bash -c 'exec "$$MLFLOW_VPS_RELEASE/bin/python" /etc/mlflow-vps/mlflow-%i.py server > >(trap "" TERM INT; exec tee -a /var/log/mlflow/server.log) 2>&1'
      # Also when MLflow ends without an error, as it does after a worker of its own was killed.
      Restart=always
      RestartSec=2
      TimeoutStopSec=60

      # Writes nowhere but here; ProtectProc would make /run writable again.
      ProtectSystem=strict
      ReadWritePaths=/var/lib/mlflow /var/log/mlflow /var/lib/mlflow/artifacts
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
      WantedBy=multi-user.target"
    `);
  });

  test("has this environment", () => {
    expect(renderEnvironment(environment)).toMatchInlineSnapshot(`
      "MLFLOW_VPS_RELEASE=/opt/mlflow/releases/3.17.2-0123abcd
      MLFLOW_BACKEND_STORE_URI=postgresql+psycopg2://mlflow@127.0.0.1:5432/mlflow
      PGPASSFILE=/etc/mlflow-vps/pgpass
      MLFLOW_SERVE_ARTIFACTS=true
      MLFLOW_ARTIFACTS_DESTINATION=/var/lib/mlflow/artifacts
      TMPDIR=/var/lib/mlflow/tmp
      MLFLOW_HOST=127.0.0.1
      MLFLOW_SERVER_ALLOWED_HOSTS=mlflow.example.org,mlflow.example.org:80,127.0.0.1:*,localhost:*
      MLFLOW_SERVER_CORS_ALLOWED_ORIGINS=http://mlflow.example.org
      MLFLOW_CRYPTO_KEK_PASSPHRASE=PASSPHRASE
      MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY=WEBHOOK_KEY
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
      }

      /var/log/mlflow-vps/*.log {
          weekly
          maxsize 10M
          rotate 4
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

describe("the share of a worker in the database", () => {
  const all = Array.from({ length: mostWorkers }, (_, index) => index + 1);

  test.each([
    [1, "3.17.2", { requests: 8, connections: 16, overflow: 4 }],
    [2, "3.17.2", { requests: 8, connections: 16, overflow: 4 }],
    [4, "3.17.2", { requests: 4, connections: 8, overflow: 2 }],
    [8, "3.17.2", { requests: 2, connections: 4, overflow: 1 }],
    [16, "3.17.2", { requests: 3, connections: 6, overflow: 1 }],
    [1, "2.22.2", { requests: 8, connections: 4, overflow: -1 }],
    [8, "2.22.2", { requests: 2, connections: 1, overflow: -1 }],
  ])("of %i with MLflow %s", (workers, version, share) => {
    expect(shareOf(workers, version)).toEqual(share);
  });

  test("is two connections for each request, and those of two instances leave 20 for everything else", () => {
    for (const workers of all) {
      const { requests, connections, overflow } = shareOf(workers, "3.17.2");
      expect(requests).toBeGreaterThanOrEqual(2);
      expect(connections).toBe(2 * requests);
      expect(2 * workers * (connections + overflow)).toBeLessThanOrEqual(connectionsFor(workers) - 20);
    }
  });

  test("of MLflow 2 is as much, with what its second engine keeps", () => {
    for (const workers of all) {
      const { requests, connections } = shareOf(workers, "2.22.2");
      expect(2 * workers * (2 * requests + connections)).toBeLessThanOrEqual(connectionsFor(workers) - 20);
    }
  });

  test("is known for as many workers as the settings allow", () => {
    const { type } = schema["service.workers"];
    expect(() => type.parse(mostWorkers)).not.toThrow();
    expect(() => type.parse(mostWorkers + 1)).toThrow();
  });
});

describe("security updates", () => {
  test("are installed each time the timer runs, and reboot nothing; what is allowed is not said here", () => {
    expect(renderSettings()).toMatchInlineSnapshot(`
      "# Managed by mlflow-vps: edits here are found by the drift check and undone by the next up.
      APT::Periodic::Enable "1";
      APT::Periodic::Update-Package-Lists "always";
      APT::Periodic::Unattended-Upgrade "always";
      Unattended-Upgrade::Automatic-Reboot "false";
      Unattended-Upgrade::InstallOnShutdown "false";"
    `);
    expect(renderSettings()).not.toMatch(/Origins|Package-Blacklist/);
  });

  test("are installed at one time of the day, and not when the host comes back from being off", () => {
    expect(renderSchedule("04:00")).toMatchInlineSnapshot(`
      "# Managed by mlflow-vps: edits here are found by the drift check and undone by the next up.
      [Timer]
      OnCalendar=
      OnCalendar=*-*-* 04:00:00
      RandomizedDelaySec=0
      Persistent=false"
    `);
  });

  test("do not let needrestart restart the service", () => {
    expect(renderRestartRule()).toMatchInlineSnapshot(`
      "# Managed by mlflow-vps: edits here are found by the drift check and undone by the next up.
      $nrconf{override_rc}{qr(^mlflow@)} = 0;"
    `);
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

      # Pages of this server may send requests, pages from elsewhere may not; programs send no Origin.
      map $http_origin $mlflow_vps_foreign {
          default 1;
          ''      0;
          https://mlflow.example.org 0;
          https://192.0.2.10 0;
      }

      upstream mlflow_vps {
          include /etc/mlflow-vps/upstream.conf;
          keepalive 16;
          # Before the service ends them, which it does after 5 s.
          keepalive_timeout 4s;
      }

      # Apart: failures from many addresses push out the oldest of their kind, and no lockout.
      lua_shared_dict mlflow_vps_logins 4m;
      lua_shared_dict mlflow_vps_lockouts 1m;

      # Only to names that are ours, whatever the Host header says.
      map $host $mlflow_vps_origin {
          default https://mlflow.example.org;
          192.0.2.10 https://192.0.2.10;
      }

      server {
          listen 80;
          listen [::]:80;
          server_name mlflow.example.org 192.0.2.10;
          server_tokens off;
          client_header_timeout 15s;
          keepalive_timeout 0;
          location / { return 308 $mlflow_vps_origin$request_uri; }
      }

      server {
          listen 443 ssl http2;
          listen [::]:443 ssl http2;
          # Key and certificate in one file, so that they can only change together. The rest is Mozilla's intermediate profile.
          ssl_certificate /etc/server.pem;
          ssl_certificate_key /etc/server.pem;
          ssl_protocols TLSv1.2 TLSv1.3;
          ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305;
          ssl_prefer_server_ciphers off;
          ssl_session_cache shared:mlflow_vps_tls:2m;
          ssl_session_timeout 1d;
          ssl_session_tickets off;
          server_name mlflow.example.org 192.0.2.10;
          server_tokens off;

          auth_basic "MLflow";
          auth_basic_user_file /etc/users;
          if ($mlflow_vps_foreign) { return 403; }

          # An IPv6 network of 64 bits is one caller: whoever has one address of it has them all.
          set_by_lua_block $mlflow_vps_caller {
              local b = { ngx.var.binary_remote_addr:byte(1, 8) }
              if #b == 4 then return ngx.var.remote_addr end
              return ("%x:%x:%x:%x::/64"):format(b[1] * 256 + b[2], b[3] * 256 + b[4], b[5] * 256 + b[6], b[7] * 256 + b[8])
          }
          # 10 failed logins within 60 s lock their caller out for 600 s, from every login. The host itself is exempt.
          rewrite_by_lua_block {
              local caller = ngx.var.mlflow_vps_caller
              local ends = ngx.shared.mlflow_vps_lockouts:get(caller)
              if ends and ends > ngx.now() then
                  -- Not 429: clients would wait for the end and say nothing.
                  ngx.status = 403
                  ngx.header["Content-Type"] = "text/plain"
                  ngx.say("Too many failed logins from ", caller, ": locked out for ", math.ceil(ends - ngx.now()), " s.")
                  return ngx.exit(403)
              end
          }
          header_filter_by_lua_block {
              -- Only Basic brings a password. A key for another kind of server, as clients of OpenAI's API send, is no guess of one.
              local basic = (ngx.var.http_authorization or ""):sub(1, 6):lower() == "basic "
              local failed = ngx.status == 401 and basic and not ngx.var.upstream_status
              if not failed or ngx.var.remote_addr == "127.0.0.1" or ngx.var.remote_addr == "::1" then return end
              local logins, caller = ngx.shared.mlflow_vps_logins, ngx.var.mlflow_vps_caller
              -- A ring of the failures before this one: where its oldest is still there, this is one too many.
              local slot = caller .. " " .. logins:incr(caller, 1, 0) % 9
              if logins:get(slot) then
                  ngx.shared.mlflow_vps_lockouts:set(caller, ngx.now() + 600, 600)
                  ngx.log(ngx.WARN, "mlflow-vps: ", caller, " is locked out for 600 s after 10 failed logins")
              end
              logins:set(slot, true, 60)
          }

          # Before a reload of nginx, each answer ends its connection.
          set $mlflow_vps_uri $uri;
          if (-f /run/mlflow-vps/drain) { rewrite ^ /mlflow-vps/drain last; }
          location = /mlflow-vps/drain {
              internal;
              keepalive_timeout 0;
              rewrite ^ $mlflow_vps_uri last;
          }

          # MLflow holds every other request in memory.
          client_max_body_size 64m;
          # MLflow's searches are long URLs: a filter with 300 ids is 12 KB. Its own web server reads up to 64 KB at once, and refuses
          # what is too long for it (MLflow 2: 4,094 bytes). Before a login that is 128 KB of memory for a connection of HTTP/1 (some
          # 1,500 of them: 192 MB, for 15 s at the most); HTTP/2 may take that for each of its requests, so 32 and not 128 at once.
          # Where another site is nginx's default on this port, that one's size applies to requests by the address.
          large_client_header_buffers 2 64k;
          http2_max_concurrent_streams 32;

          # Slow requests are cut off.
          client_header_timeout 15s;
          client_body_timeout 60s;
          send_timeout 60s;

          # Long requests: large artifacts, traces, searches over many runs.
          proxy_read_timeout 1h;
          proxy_send_timeout 1h;

          # Closed: the assistant trusts local callers, and behind a proxy everybody is local (GHSA-7xcw-g7v8-rq26);
          # metrics have no authentication of their own.
          location ~ ^/+(ajax-)?api/[0-9.]+/mlflow/assistant { return 404; }
          location ~ ^/+metrics { return 404; }

          # Ends the lockout of an address, written as the refusal names it. Only on the host itself, by a user with the password.
          location = /mlflow-vps/unlock {
              allow 127.0.0.1;
              allow ::1;
              deny all;
              content_by_lua_block {
                  local lockouts, address = ngx.shared.mlflow_vps_lockouts, ngx.var.arg_address or ""
                  local ends = lockouts:get(address)
                  lockouts:delete(address)
                  for slot = 0, 8 do ngx.shared.mlflow_vps_logins:delete(address .. " " .. slot) end
                  ngx.say(address, ends and " may log in again" or " was not locked out")
              }
          }

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

          # Server-sent events and model answers are passed on unbuffered.
          location /gateway/ {
              proxy_buffering off;
              proxy_pass http://mlflow_vps;
          }

          # MLflow keeps a download of the web interface in memory until the client has read it, so nginx buffers it on disk.
          location / {
              proxy_max_temp_file_size 20480m;
              proxy_pass http://mlflow_vps;
          }
      }"
    `);
  });

  /** What differs from the site above, line by line: what goes and what comes. */
  const differences = (change: Partial<Site>) => {
    const lines = (text: string) => text.split("\n").map((line) => line.trim());
    const [before, after] = [lines(renderSite(site)), lines(renderSite({ ...site, ...change }))];
    return {
      gone: before.filter((line) => !after.includes(line)),
      come: after.filter((line) => !before.includes(line)),
    };
  };

  test("on another port listens there, on IPv4 and IPv6, and sends plain HTTP there", () => {
    expect(differences({ port: 8443 }).come).toEqual([
      "https://mlflow.example.org:8443 0;",
      "https://192.0.2.10:8443 0;",
      "default https://mlflow.example.org:8443;",
      "192.0.2.10 https://192.0.2.10:8443;",
      "listen 8443 ssl http2;",
      "listen [::]:8443 ssl http2;",
    ]);
  });

  test("without TLS speaks HTTP on its one port, and has no certificate", () => {
    const { gone, come } = differences({ secure: false, port: 80, httpPort: undefined });
    expect(come.slice(0, 2)).toEqual(["http://mlflow.example.org 0;", "http://192.0.2.10 0;"]);
    expect(come[2]).toContain("localhost"); // the end of an SSH tunnel
    expect(come).toHaveLength(3);
    expect(gone).toContain("ssl_certificate /etc/server.pem;");
    expect(renderSite({ ...site, secure: false, port: 80 })).not.toMatch(/ssl|https/);
  });

  test("without a port for plain HTTP sends nothing on", () => {
    expect(differences({ httpPort: undefined }).come).toEqual([]);
    expect(renderSite({ ...site, httpPort: undefined })).not.toMatch(/listen 80|308/);
  });

  test("serves what a certificate authority asks for, on the port for plain HTTP only", () => {
    expect(differences({ challengeDirectory: "/srv/acme" })).toEqual({
      gone: [],
      come: ["location /.well-known/acme-challenge/ { root /srv/acme; }"],
    });
    expect(renderSite({ ...site, challengeDirectory: "/srv/acme" }).match(/acme-challenge/g)).toHaveLength(1);
  });

  test("tells browsers to come by HTTPS only, where its name is a public one", () => {
    expect(differences({ strictTransport: true })).toEqual({
      gone: [],
      come: ['add_header Strict-Transport-Security "max-age=31536000" always;'],
    });
  });

  test("of an IPv6 address has it in brackets", () => {
    expect(differences({ names: ["2001:db8::10"] }).come).toEqual([
      "https://[2001:db8::10] 0;",
      "default https://[2001:db8::10];",
      "server_name [2001:db8::10];",
      "server_name [2001:db8::10];",
    ]);
  });

  test("asks where the service is, and asks the users' file", () => {
    expect(differences({ upstreamFile: "/etc/other.conf" }).come).toEqual(["include /etc/other.conf;"]);
    expect(differences({ usersFile: "/etc/others" }).come).toEqual(["auth_basic_user_file /etc/others;"]);
  });

  test("has no variable, zone or upstream that could meet another site's", () => {
    const names = [
      ...renderSite(site).matchAll(
        /^ *(?:map \S+ \$|upstream |lua_shared_dict |ssl_session_cache shared:)(\w+)/gm,
      ),
    ].map(([, name]) => name);
    expect(names).toHaveLength(7);
    for (const name of names) {
      expect(name).toMatch(/^mlflow_vps/);
    }
  });
});

describe("the firewall", () => {
  test("has these rules", () => {
    expect(renderRules([80, 8443])).toMatchInlineSnapshot(`
      "# Managed by mlflow-vps: edits here are found by the drift check and undone by the next up.
      table inet mlflow_vps
      delete table inet mlflow_vps
      table inet mlflow_vps {
          chain input {
              type filter hook input priority filter; policy drop;
              iif "lo" accept
              ct state established,related accept
              # Before anything that drops: what takes SSH for invalid must not end it.
              tcp dport { SSH_PORTS } accept
              ct state invalid drop
              icmp type { destination-unreachable, echo-request, time-exceeded, parameter-problem } accept
              icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request, mld-listener-query, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
              # Answers to a DHCP client: they come to a port from which nothing was sent, or to all.
              meta nfproto ipv4 udp sport 67 udp dport 68 accept
              ip6 daddr fe80::/10 udp dport 546 accept
              tcp dport { 80, 8443 } accept
          }
      }"
    `);
  });

  test("lets SSH in before anything that drops, on ports that only the host knows", () => {
    const rules = renderRules([80]).split("\n");
    const ssh = rules.findIndex((line) => line.trim() === `tcp dport { ${sshPorts} } accept`);
    expect(ssh).toBeGreaterThan(-1);
    expect(rules.findIndex((line) => line.endsWith(" drop"))).toBeGreaterThan(ssh);
  });

  test("touches no table but its own, and filters nothing that is passed on or sent", () => {
    const text = renderRules([80]);
    expect(new Set([...text.matchAll(/table (.*?)( \{)?$/gm)].map(([, name]) => name))).toEqual(
      new Set(["inet mlflow_vps"]),
    );
    expect(text).not.toMatch(/flush|hook (?!input)/);
  });

  test("has this unit", () => {
    expect(renderFirewallUnit("/etc/mlflow-vps/firewall.nft")).toMatchInlineSnapshot(`
      "# Managed by mlflow-vps: edits here are found by the drift check and undone by the next up.
      [Unit]
      Description=Firewall of the MLflow server
      DefaultDependencies=no
      Wants=network-pre.target
      Before=network-pre.target sysinit.target
      # Restarting and reloading that one flushes the tables of all.
      After=nftables.service
      PartOf=nftables.service
      ReloadPropagatedFrom=nftables.service

      [Service]
      Type=oneshot
      RemainAfterExit=yes
      ExecStart=/usr/sbin/nft -f /etc/mlflow-vps/firewall.nft
      ExecReload=/usr/sbin/nft -f /etc/mlflow-vps/firewall.nft
      ExecStop=-/usr/sbin/nft delete table inet mlflow_vps

      [Install]
      WantedBy=sysinit.target"
    `);
  });
});

describe("the addresses of the server", () => {
  test.each([
    ["mlflow.example.org", 443, true, "https://mlflow.example.org"],
    ["mlflow.example.org", 8443, true, "https://mlflow.example.org:8443"],
    ["mlflow.example.org", 80, true, "https://mlflow.example.org:80"],
    ["mlflow.example.org", 80, false, "http://mlflow.example.org"],
    ["mlflow.example.org", 443, false, "http://mlflow.example.org:443"],
    ["192.0.2.10", 80, false, "http://192.0.2.10"],
    ["2001:db8::10", 443, true, "https://[2001:db8::10]"],
    ["2001:db8::10", 8443, true, "https://[2001:db8::10]:8443"],
  ])("of %s on port %i (TLS %s) are under %s, as a browser writes it", (name, port, secure, expected) => {
    expect(origin(name, port, secure)).toBe(expected);
    expect(new URL(expected).origin).toBe(expected);
  });

  test("in a Host header may have the port or not", () => {
    expect(hostHeaders(["mlflow.example.org", "2001:db8::10"], [443, 8443])).toEqual([
      "mlflow.example.org",
      "mlflow.example.org:443",
      "mlflow.example.org:8443",
      "[2001:db8::10]",
      "[2001:db8::10]:443",
      "[2001:db8::10]:8443",
    ]);
  });

  test("have brackets around IPv6 only", () => {
    expect(["::1", "127.0.0.1", "vps"].map(urlHost)).toEqual(["[::1]", "127.0.0.1", "vps"]);
  });
});

describe("the client's variables", () => {
  const passwords = { ada: "PASSWORD-1", grace: "PASSWORD-2" };

  test("are those of the named user", () => {
    expect(renderClientEnv("https://vps:8443", "grace", passwords, false)).toMatchInlineSnapshot(`
      "MLFLOW_TRACKING_URI=https://vps:8443
      MLFLOW_TRACKING_USERNAME=grace
      MLFLOW_TRACKING_PASSWORD=PASSWORD-2
      "
    `);
  });

  test("say whom to trust, where the client cannot know it", () => {
    expect(renderClientEnv("https://vps:8443", "grace", passwords, true)).toMatchInlineSnapshot(`
      "MLFLOW_TRACKING_URI=https://vps:8443
      MLFLOW_TRACKING_USERNAME=grace
      MLFLOW_TRACKING_PASSWORD=PASSWORD-2
      MLFLOW_TRACKING_SERVER_CERT_PATH=mlflow-ca.pem
      "
    `);
  });
});

test("the client's variables mean the same to every reader, whether it knows quotes and variables or not", async () => {
  const text = renderClientEnv(
    "https://[2001:db8::1]:8443",
    "ada.l-1",
    { ada: "x", "ada.l-1": "Aa0_-" },
    true,
  );
  expect(text).toMatch(/^([A-Z_]+=[A-Za-z0-9_.:/@%+\-[\]]+\n)+$/);
  const read = spawnSync("bash", ["-c", `set -a; eval "$0"; exec env`, text], { encoding: "utf8" }).stdout;
  expect(read.split("\n")).toEqual(expect.arrayContaining(text.trim().split("\n")));
});

describe("the line of the password file", () => {
  test("names host, port, database, role and password", () => {
    const access = { address: "127.0.0.1", port: 5432, name: "mlflow", role: "owner" };
    expect(passwordLine(access, "PASSWORD")).toBe("127.0.0.1:5432:mlflow:owner:PASSWORD");
  });

  test("escapes what separates its fields, and the backslash, as libpq reads it", () => {
    expect(passwordLine({ address: "127.0.0.1", port: 5432, name: "a:b", role: "c\\d" }, "\\:'\" ")).toBe(
      "127.0.0.1:5432:a\\:b:c\\\\d:\\\\\\:'\" ",
    );
  });
});
