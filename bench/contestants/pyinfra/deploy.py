"""An MLflow tracking server: PostgreSQL, a virtual environment, a systemd service, nginx with a password."""

import json
from io import StringIO
from pathlib import Path

from pyinfra import config, host
from pyinfra.operations import apt, files, pip, postgres, server, systemd
from pyinfra.operations.util import any_changed

config.SUDO = True

values = json.loads(Path(host.data.values_file).read_text())
templates = Path(__file__).parent.parent / "server"

apt.packages(
    name="Packages",
    packages=["python3-venv", "postgresql", "nginx"],
    update=True,
    cache_time=3600,
    no_recommends=True,
)

postgres.role(
    name="Role of the database",
    role="mlflow",
    password=values["database_password"],
    _sudo_user="postgres",
)
postgres.database(name="Database", database="mlflow", owner="mlflow", _sudo_user="postgres")

server.user(name="Account", user="mlflow", system=True, home="/opt/mlflow", create_home=True)

pip.venv(name="Virtual environment", path="/opt/mlflow/venv", python="python3")
release = pip.packages(
    name="MLflow",
    packages=[f"mlflow=={values['mlflow']}", "psycopg2-binary"],
    virtualenv="/opt/mlflow/venv",
)

environment = files.template(
    name="Environment of the service",
    src=str(templates / "mlflow.env.j2"),
    dest="/etc/mlflow.env",
    mode="600",
    database_password=values["database_password"],
    workers=values["workers"],
)
unit = files.template(
    name="Unit of the service",
    src=str(templates / "mlflow.service.j2"),
    dest="/etc/systemd/system/mlflow.service",
    mode="644",
)
systemd.daemon_reload(name="Units read anew", _if=unit.did_change)
systemd.service(
    name="Service restarted",
    service="mlflow.service",
    restarted=True,
    _if=any_changed(release, environment, unit),
)
systemd.service(name="Service", service="mlflow.service", running=True, enabled=True)

# pyinfra has no operation for such a file, so the hash of the password is among the values.
files.put(
    name="Password of the user",
    src=StringIO(f"mlflow:{values['password_hash']}\n"),
    dest="/etc/nginx/mlflow.htpasswd",
    user="root",
    group="www-data",
    mode="640",
)
site = files.template(
    name="Site of nginx",
    src=str(templates / "site.conf.j2"),
    dest="/etc/nginx/sites-available/mlflow",
    mode="644",
)
enabled = files.link(
    name="Site of nginx, enabled",
    path="/etc/nginx/sites-enabled/mlflow",
    target="/etc/nginx/sites-available/mlflow",
)
default = files.link(
    name="Default site of nginx, disabled",
    path="/etc/nginx/sites-enabled/default",
    present=False,
)
systemd.service(
    name="nginx reloaded",
    service="nginx.service",
    reloaded=True,
    _if=any_changed(site, enabled, default),
)
