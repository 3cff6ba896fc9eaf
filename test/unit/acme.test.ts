import { describe, expect, test } from "vitest";
import { renderSite } from "../../components/entrance/proxy/render";
import { drainFile } from "../../components/step/script";

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
  });
});
