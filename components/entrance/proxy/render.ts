import { isIPv6 } from "node:net";
import { drainFile, managed } from "../../step/script";

/** How clients reach the server. */
export interface Entrance {
  /** Names and addresses; the first is the one in the tracking URI. */
  readonly names: readonly string[];
  /** TCP port that clients use. */
  readonly port: number;
  /** Whether the port speaks TLS. */
  readonly secure: boolean;
}

export interface Site extends Entrance {
  /** File with the address of the service, in nginx's syntax. */
  readonly upstreamFile: string;
  /** Password file of the users, in nginx's format. */
  readonly usersFile: string;
  /** File with private key and certificate chain, used where the port speaks TLS. */
  readonly certificateFile: string;
  /** TCP port whose requests are redirected to HTTPS; none without it. */
  readonly httpPort?: number;
  /** Directory in which an ACME client puts its answers (RFC 8555, http-01), served on the HTTP port. */
  readonly challengeDirectory?: string;
  /** Tell browsers to use nothing but HTTPS for a year (RFC 6797). */
  readonly strictTransport: boolean;
}

/** Failed logins from one address within this many seconds … */
const failureSeconds = 60;
/** … lock it out, */
const failures = 10;
/** for this many seconds. */
const lockoutSeconds = 600;

/** A host name or address as it stands in a URL. */
export function urlHost(name: string): string {
  return isIPv6(name) ? `[${name}]` : name;
}

/** The server's origin (RFC 6454), as a browser writes it. */
export function origin(name: string, port: number, secure: boolean): string {
  const [scheme, usual] = secure ? ["https", 443] : ["http", 80];
  return `${scheme}://${urlHost(name)}${port === usual ? "" : `:${port}`}`;
}

/** What the Host header may be: each name, alone and with each port. */
export function hostHeaders(names: readonly string[], ports: readonly number[]): string[] {
  return names.flatMap((name) => [urlHost(name), ...ports.map((port) => `${urlHost(name)}:${port}`)]);
}

/** The nginx site. Variables, zones and upstream carry the project's name, so that they collide with nobody else's. */
export function renderSite(site: Site): string {
  return `${managed}
map $http_upgrade $mlflow_vps_connection {
    default upgrade;
    ''      '';
}

# Pages of this server may send requests, pages from elsewhere may not; programs send no Origin.
map $http_origin $mlflow_vps_foreign {
    default 1;
    ''      0;
${site.names.map((name) => `    ${origin(name, site.port, site.secure)} 0;`).join("\n")}${site.secure ? "" : tunnelOrigins}
}

upstream mlflow_vps {
    include ${site.upstreamFile};
    keepalive 16;
    # Before the service ends them, which it does after 5 s.
    keepalive_timeout 4s;
}

# Apart: failures from many addresses push out the oldest of their kind, and no lockout.
lua_shared_dict mlflow_vps_logins 4m;
lua_shared_dict mlflow_vps_lockouts 1m;
${renderHttp(site)}
server {
${renderListen(site)}
    server_name ${site.names.map(urlHost).join(" ")};
    server_tokens off;

    auth_basic "MLflow";
    auth_basic_user_file ${site.usersFile};
    if ($mlflow_vps_foreign) { return 403; }
${lockout}${drain}
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
${unlock}
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
}`;
}

/** Without TLS the way in is an SSH tunnel, whose end is on the user's own machine. */
const tunnelOrigins = String.raw`
    "~^http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?$" 0;`;

function renderListen(site: Site): string {
  const options = site.secure ? " ssl http2" : "";
  const listen = `    listen ${site.port}${options};
    listen [::]:${site.port}${options};`;
  return site.secure
    ? `${listen}
    # Key and certificate in one file, so that they can only change together. The rest is Mozilla's intermediate profile.
    ssl_certificate ${site.certificateFile};
    ssl_certificate_key ${site.certificateFile};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305;
    ssl_prefer_server_ciphers off;
    ssl_session_cache shared:mlflow_vps_tls:2m;
    ssl_session_timeout 1d;
    ssl_session_tickets off;${site.strictTransport ? '\n    add_header Strict-Transport-Security "max-age=31536000" always;' : ""}`
    : listen;
}

function renderHttp(site: Site): string {
  if (!site.secure || site.httpPort === undefined) {
    return "";
  }
  const [first = "", ...others] = site.names.map((name) => origin(name, site.port, true));
  const challenges = site.challengeDirectory
    ? `\n    location /.well-known/acme-challenge/ { root ${site.challengeDirectory}; }`
    : "";
  return `
# Only to names that are ours, whatever the Host header says.
map $host $mlflow_vps_origin {
    default ${first};
${others.map((other, index) => `    ${urlHost(site.names[index + 1] ?? "")} ${other};`).join("\n")}
}

server {
    listen ${site.httpPort};
    listen [::]:${site.httpPort};
    server_name ${site.names.map(urlHost).join(" ")};
    server_tokens off;
    client_header_timeout 15s;
    keepalive_timeout 0;${challenges}
    location / { return 308 $mlflow_vps_origin$request_uri; }
}
`;
}

/**
 * Refuses before anything else is done with a request, and counts before its answer goes out: counted in the log phase,
 * a client could delay the count, guess after guess, by leaving its request or the answer unfinished.
 */
const lockout = `
    # An IPv6 network of 64 bits is one caller: whoever has one address of it has them all.
    set_by_lua_block $mlflow_vps_caller {
        local b = { ngx.var.binary_remote_addr:byte(1, 8) }
        if #b == 4 then return ngx.var.remote_addr end
        return ("%x:%x:%x:%x::/64"):format(b[1] * 256 + b[2], b[3] * 256 + b[4], b[5] * 256 + b[6], b[7] * 256 + b[8])
    }
    # ${failures} failed logins within ${failureSeconds} s lock their caller out for ${lockoutSeconds} s, from every login. The host itself is exempt.
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
        local slot = caller .. " " .. logins:incr(caller, 1, 0) % ${failures - 1}
        if logins:get(slot) then
            ngx.shared.mlflow_vps_lockouts:set(caller, ngx.now() + ${lockoutSeconds}, ${lockoutSeconds})
            ngx.log(ngx.WARN, "mlflow-vps: ", caller, " is locked out for ${lockoutSeconds} s after ${failures} failed logins")
        end
        logins:set(slot, true, ${failureSeconds})
    }
`;

/**
 * A reload ends idle connections at once, also under a request that is already on its way; so in the seconds before,
 * each answer ends its connection, and says so. nginx does that for a request that came through a location without
 * keep-alive, wherever it goes on to. (HTTP/2 needs no such thing: its clients learn what was not served.)
 */
const drain = `
    # Before a reload of nginx, each answer ends its connection.
    set $mlflow_vps_uri $uri;
    if (-f ${drainFile}) { rewrite ^ /mlflow-vps/drain last; }
    location = /mlflow-vps/drain {
        internal;
        keepalive_timeout 0;
        rewrite ^ $mlflow_vps_uri last;
    }
`;

const unlock = `
    # Ends the lockout of an address, written as the refusal names it. Only on the host itself, by a user with the password.
    location = /mlflow-vps/unlock {
        allow 127.0.0.1;
        allow ::1;
        deny all;
        content_by_lua_block {
            local lockouts, address = ngx.shared.mlflow_vps_lockouts, ngx.var.arg_address or ""
            local ends = lockouts:get(address)
            lockouts:delete(address)
            for slot = 0, ${failures - 2} do ngx.shared.mlflow_vps_logins:delete(address .. " " .. slot) end
            ngx.say(address, ends and " may log in again" or " was not locked out")
        }
    }
`;
