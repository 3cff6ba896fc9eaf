# shellcheck shell=bash
# The tutorial's commands, in the order in which people type them; run as root by bash -s. Values stand before it.
: "${mlflow:?} ${workers?} ${password:?} ${database_password:?}"

export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y python3-pip python3-venv postgresql nginx apache2-utils

cd /tmp || exit
sudo -u postgres psql -v ON_ERROR_STOP=1 <<SQL
create database mlflow;
create user mlflow with encrypted password '$database_password';
alter database mlflow owner to mlflow;
SQL

useradd --system --create-home --home-dir /opt/mlflow mlflow
sudo -u mlflow python3 -m venv /opt/mlflow/venv
sudo -u mlflow /opt/mlflow/venv/bin/pip install "mlflow==$mlflow" psycopg2-binary

touch /etc/systemd/system/mlflow.service
chmod 600 /etc/systemd/system/mlflow.service
cat >/etc/systemd/system/mlflow.service <<UNIT
[Unit]
Description=MLflow tracking server
After=network.target postgresql.service

[Service]
User=mlflow
WorkingDirectory=/opt/mlflow
ExecStart=/opt/mlflow/venv/bin/mlflow server --host 127.0.0.1 --port 5000 --backend-store-uri postgresql+psycopg2://mlflow:$database_password@localhost/mlflow --artifacts-destination /opt/mlflow/artifacts${workers:+ --workers $workers}
Restart=always

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --now mlflow

htpasswd -ic /etc/nginx/.htpasswd mlflow <<<"$password"
cat >/etc/nginx/sites-available/mlflow <<'SITE'
server {
    listen 80;
    server_name _;
    client_max_body_size 0;
    auth_basic "MLflow";
    auth_basic_user_file /etc/nginx/.htpasswd;
    location / {
        proxy_pass http://127.0.0.1:5000;
        proxy_set_header Authorization "";
    }
}
SITE
rm -f /etc/nginx/sites-enabled/default
ln -s /etc/nginx/sites-available/mlflow /etc/nginx/sites-enabled/
nginx -t
systemctl reload nginx
