import { testSteps } from "./step";

const pem = "/etc/mlflow-vps/server.pem";
const pg = '"$WORLD/.state/pg';
const htpasswd = "/etc/mlflow-vps/htpasswd";

testSteps([
  {
    step: "certificate",
    damages: {
      "no certificate": `rm ${pem}`,
      "a certificate that has expired": `echo 'PRIVATE KEY of x' >${pem}; echo 'CERTIFICATE of x for mlflow.example.org expired' >>${pem}`,
      "another host's certificate": `echo 'PRIVATE KEY of x' >${pem}; echo 'CERTIFICATE of x for other.example.org' >>${pem}`,
      "another key": `echo 'PRIVATE KEY of y' >${pem}; echo 'CERTIFICATE of x for mlflow.example.org' >>${pem}`,
      "a certificate for everybody to read": `chmod 644 ${pem}`,
      "a certificate that nginx has not read": `touch ${pem}`,
    },
  },
  {
    step: "database",
    damages: {
      "rules of others only":
        "sed -i '/# mlflow-vps$/d' /etc/postgresql/15/main/pg_hba.conf; systemctl reload postgresql@15-main",
      "settings for others' databases too":
        "echo \"listen_addresses = 'localhost'\" >/etc/postgresql/15/main/conf.d/mlflow-vps.conf",
      "a role that may do more": `sed -i 's/^login/superuser/' ${pg}/roles/tracking"`,
      "a role with a different password": `sed -i 's/^password=.*/password=SCRAM-SHA-256$4096:salt$old/' ${pg}/roles/tracking"`,
      "a database of somebody else": `echo postgres >${pg}/databases/tracking/owner"`,
      "a table of somebody else": `echo 'table runs postgres' >${pg}/databases/tracking/relations"; echo row=1 >>${pg}/databases/tracking/data"`,
      "another password file": "echo x >/etc/mlflow-vps/pgpass",
      "PostgreSQL that is down": "systemctl stop postgresql@15-main.service",
    },
  },
  {
    step: "proxy",
    after: ["certificate"],
    host: "echo 'server 127.0.0.1:5001;' >/etc/mlflow-vps/upstream.conf; systemctl reload nginx; mkdir -p /proc/5001/fd; ln -s x /proc/5001/fd/5001",
    damages: {
      "another site": "echo changed >>/etc/nginx/sites-available/mlflow-vps; systemctl reload nginx",
      "a site that is off": "rm /etc/nginx/sites-enabled/mlflow-vps",
      "a user with a different password": `sed -i 's/^grace:.*/grace:{SSHA}x/' ${htpasswd}`,
      "a user who is missing": `sed -i '/^grace:/d' ${htpasswd}`,
      "a user too many": `echo 'eve:{SSHA}x' >>${htpasswd}`,
      "the distribution's own page":
        "ln -sfn /etc/nginx/sites-available/default /etc/nginx/sites-enabled/default; systemctl reload nginx",
      "nginx that does not start at boot": "systemctl disable nginx",
      "a site that nginx has not read": "touch /etc/nginx/sites-available/mlflow-vps",
      "a reload that was interrupted": ": >/run/mlflow-vps/drain",
      "a change that was interrupted":
        "mkdir /etc/nginx/mlflow-vps.before; cp /etc/nginx/sites-available/mlflow-vps /etc/nginx/mlflow-vps.before/site; [ ! -L /etc/nginx/sites-enabled/mlflow-vps ] || cp -a /etc/nginx/sites-enabled/mlflow-vps /etc/nginx/mlflow-vps.before/link",
      "nginx that is stopped": "systemctl stop nginx",
    },
  },
  {
    step: "acme",
    after: ["certificate"],
    damages: {
      "another hook": "echo changed >>/etc/letsencrypt/renewal-hooks/deploy/mlflow-vps",
      "no directory for the authority": "rmdir /var/lib/mlflow-vps/acme",
      "no certificate": "rm -r /etc/letsencrypt/live",
      "another authority": "sed -i 's/^server = .*/server = other/' /etc/letsencrypt/renewal/mlflow-vps.conf",
      "a certificate that ends soon":
        "echo 'CERTIFICATE of acme for mlflow.example.org ends soon' >/etc/letsencrypt/archive/mlflow-vps/cert1.pem",
      "a certificate that was not handed over": `echo 'PRIVATE KEY of x' >${pem}; echo 'CERTIFICATE of x for mlflow.example.org' >>${pem}`,
      "a timer that is off": "systemctl disable --now certbot.timer",
    },
  },
]);
