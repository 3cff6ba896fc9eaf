import { isIPv6 } from "node:net";
import { managed } from "../step/script";

export interface Site {
  /** Names and addresses by which clients reach the server; the first is the one in the tracking URI. */
  readonly names: readonly string[];
  /** TCP port that nginx listens on. */
  readonly port: number;
  /** TCP port of the service on 127.0.0.1. */
  readonly servicePort: number;
  /** Password file of the users, in nginx's format. */
  readonly usersFile: string;
}

/** A host name or address as it stands in a URL. */
export function urlHost(name: string): string {
  return isIPv6(name) ? `[${name}]` : name;
}

/** The origin (RFC 6454) under which a browser sees the server. */
export function origin(name: string, port: number): string {
  return `http://${urlHost(name)}${port === 80 ? "" : `:${port}`}`;
}

/** What the Host header may be: the name, with and without the port. */
export function hostHeaders(names: readonly string[], port: number): string[] {
  return names.flatMap((name) => [urlHost(name), `${urlHost(name)}:${port}`]);
}

/** The nginx site. Variables and upstream carry the project's name, so that they meet nobody else's. */
export function renderSite(site: Site): string {
  return `${managed}
map $http_upgrade $mlflow_vps_connection {
    default upgrade;
    ''      '';
}

upstream mlflow_vps {
    server 127.0.0.1:${site.servicePort};
    keepalive 16;
}

server {
    listen ${site.port};
    listen [::]:${site.port};
    server_name ${site.names.map(urlHost).join(" ")};

    auth_basic "MLflow";
    auth_basic_user_file ${site.usersFile};

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
}`;
}
