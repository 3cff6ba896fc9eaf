# shellcheck shell=bash
# Another number of workers; MLflow's own without one.
: "${workers?}"

sed -i -E "s/^(ExecStart=.*--artifacts-destination [^ ]+).*/\1${workers:+ --workers $workers}/" /etc/systemd/system/mlflow.service
systemctl daemon-reload
systemctl restart mlflow
