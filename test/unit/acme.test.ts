import { describe, expect, test } from "vitest";
import { renderHook } from "../../components/acme/acme";
import { renderSite } from "../../components/proxy/render";
import { drainFile, managed } from "../../components/step/script";

const site = {
  names: ["mlflow.example.org", "192.0.2.10"],
  port: 443,
  secure: true,
  upstreamFile: "/etc/mlflow-vps/upstream.conf",
  usersFile: "/etc/users",
  certificateFile: "/etc/server.pem",
  httpPort: 80,
  challengeDirectory: "/srv/acme",
  strictTransport: true,
};

describe("what certbot runs after a renewal", () => {
  test("is this", () => {
    expect(renderHook("/etc/server.pem")).toMatchInlineSnapshot(`
      "#!/bin/sh
      # Managed by mlflow-vps: edits here are found by the drift check and undone by the next up.
      set -eu
      [ "$RENEWED_LINEAGE" = /etc/letsencrypt/live/mlflow-vps ] || exit 0
      install -d -m 0755 /run/mlflow-vps
      exec 8>/run/mlflow-vps/reload
      flock --timeout 600 8 || {
        echo "cannot lock /run/mlflow-vps/reload within 10 minutes; when no reload of nginx is in progress any more, 'pulumi up --refresh' hands the certificate over" >&2
        exit 1
      }
      partial=/etc/server.pem.renewed
      trap 'rm -f "$partial" /run/mlflow-vps/drain' EXIT
      trap 'exit 1' HUP INT TERM
      rm -f "$partial"
      (umask 077 && cat "$RENEWED_LINEAGE/privkey.pem" "$RENEWED_LINEAGE/fullchain.pem" >"$partial")
      mv -f "$partial" /etc/server.pem
      state=$(systemctl show --property ActiveState --value nginx.service)
      case $state in active | reloading | refreshing) ;; *) exit 0 ;; esac
      : >/run/mlflow-vps/drain
      sleep 3
      systemctl reload nginx.service
      sleep 3"
    `);
  });

  test("is a program, says who manages it, and ends without an empty line, which the check could not see", () => {
    const hook = renderHook("/etc/server.pem");
    expect(hook.split("\n").slice(0, 2)).toEqual(["#!/bin/sh", managed]);
    expect(hook).toBe(hook.trimEnd());
  });
});

describe("the site", () => {
  test("answers the authority on the HTTP port, without a password, and sends everything else on to HTTPS", () => {
    const [, http = ""] = renderSite(site).split(/^server \{$/m);
    expect(http).toContain("listen 80;");
    expect(http).toContain("location /.well-known/acme-challenge/ { root /srv/acme; }");
    expect(http).toContain("location / { return 308 $mlflow_vps_origin$request_uri; }");
    expect(http).not.toContain("auth_basic");
  });

  test("has no place for the authority's questions where there is no public one", () => {
    expect(renderSite({ ...site, challengeDirectory: undefined })).not.toContain("acme-challenge");
  });

  test("asks clients for new connections while the hook, or a step, is about to reload nginx", () => {
    expect(renderSite(site)).toContain(`if (-f ${drainFile})`);
    expect(renderHook("/etc/server.pem")).toContain(`: >${drainFile}\n`);
  });
});
