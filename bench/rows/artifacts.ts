import { Readable } from "node:stream";
import { Client } from "../client";
import type { Guest } from "../guests";
import type { Figure, Row } from "../measurement";
import { seconds } from "../processes";

/** The port of the plain nginx. */
const plainPort = 8099;
const plainSite = "/etc/nginx/conf.d/bench.conf";
const plainRoot = "/var/lib/bench";

/** Files up and down through the server, and through nginx alone, with the same certificate and from the same guest. */
export const artifacts: Row = {
  name: "artifacts",
  title: "artifacts",
  on: "served",
  applies: () => true,
  async measure({ guest, deployment, options }) {
    const access = await deployment.access(guest);
    const secure = access.uri.startsWith("https:");
    const plain = { ...access, uri: `${secure ? "https" : "http"}://${guest.address}:${plainPort}` };
    const ways = [
      { way: "", at: access, path: "/api/2.0/mlflow-artifacts/artifacts/bench" },
      { way: ", plain nginx", at: plain, path: "/bench" },
    ];
    await servePlain(guest, secure);
    const figures: Figure[] = [];
    try {
      for (const size of options.artifacts) {
        for (const { way, at, path } of ways) {
          const { up, down } = await transfer(new Client(at), `${path}-${size.megabytes}`, size);
          const what = `${size.megabytes} MB x ${size.count}`;
          figures.push({ what: `${what} up${way}`, value: up, unit: "MB/s" });
          figures.push({ what: `${what} down${way}`, value: down, unit: "MB/s" });
        }
      }
    } finally {
      await guest.run(`rm -rf ${plainRoot} ${plainSite}; nginx -t -q; systemctl restart nginx`);
    }
    return figures;
  },
};

/**
 * A site of nginx that keeps what is put to it, with the certificate that the server's own site has. nginx is restarted: after a
 * reload, workers that are about to end still take connections.
 */
async function servePlain(guest: Guest, secure: boolean): Promise<void> {
  await guest.run(`
    install -d -o www-data -g www-data ${plainRoot} ${plainRoot}/.incoming
    certificate=$(grep -RhE '^ *ssl_certificate(_key)? ' /etc/nginx/sites-enabled/ /etc/nginx/conf.d/ || [[ $? == 1 ]])
    cat >${plainSite} <<SITE
server {
    listen ${plainPort}${secure ? " ssl" : ""};
    $certificate
    root ${plainRoot};
    dav_methods PUT;
    client_body_temp_path ${plainRoot}/.incoming;
    client_max_body_size 0;
}
SITE
    nginx -t -q
    systemctl restart nginx`);
}

interface Size {
  readonly megabytes: number;
  readonly count: number;
}

/** One after the other up, then down; in MB/s. */
async function transfer(client: Client, path: string, { megabytes, count }: Size) {
  const bytes = megabytes * 2 ** 20;
  const names = Array.from({ length: count }, (_, index) => `${path}-${index}.bin`);
  try {
    const up = await seconds(async () => {
      for (const name of names) {
        await client.send(name, { method: "PUT", upload: { content: () => content(megabytes), bytes } });
      }
    });
    const down = await seconds(async () => {
      for (const name of names) {
        const got = await client.download(name);
        if (got !== bytes) {
          throw new Error(`${name}: ${got} bytes came back of ${bytes}`);
        }
      }
    });
    return { up: (megabytes * count) / up, down: (megabytes * count) / down };
  } finally {
    client.close();
  }
}

const piece = Buffer.alloc(2 ** 20, "artifact ");

function content(megabytes: number): Readable {
  return Readable.from(Array.from({ length: megabytes }, () => piece));
}
