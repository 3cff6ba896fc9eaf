import { testSteps } from "./step";

testSteps([
  {
    step: "preflight",
    damages: {
      "another stack's name": "mkdir /etc/mlflow-vps; echo other >/etc/mlflow-vps/owner",
      "too little memory": "echo 'MemTotal: 500000 kB' >/proc/meminfo",
      "another system": "echo 'ID=fedora' >/etc/os-release",
      "a port that is taken": `mkdir -p /proc/70/fd && echo caddy >/proc/70/comm && echo 0::/system.slice/caddy.service >/proc/70/cgroup
        ln -s 'socket:[78443]' /proc/70/fd/8443
        echo '   0: 0100007F:20FB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 78443 1' >>/proc/net/tcp`,
    },
    repairs: false,
  },
  {
    step: "packages-python",
    damages: { "a package that is missing": 'rm "$WORLD/.state/packages/python3-venv"' },
    claim: true,
  },
  {
    step: "packages-servers",
    after: ["packages-python"],
    damages: {
      "a package that is missing": 'rm "$WORLD/.state/packages/nginx"',
      "nginx that an interrupted installation has masked":
        "echo new >/run/mlflow-vps/nginx-hold; systemctl mask --runtime nginx.service",
    },
  },
  {
    step: "updates",
    damages: {
      "other settings": "echo 'APT::Periodic::Enable \"0\";' >/etc/apt/apt.conf.d/zz-mlflow-vps",
      "another hour":
        "echo OnCalendar=12:00 >/etc/systemd/system/apt-daily-upgrade.timer.d/zz-mlflow-vps.conf; systemctl daemon-reload",
      "a timer that is stopped": "systemctl stop apt-daily-upgrade.timer",
      "a timer that does not start at boot": "systemctl disable apt-daily.timer",
      "a service that is masked": "systemctl mask apt-daily-upgrade.service",
    },
  },
  {
    step: "runtime",
    damages: {
      "a module that was changed":
        "echo bad >/opt/mlflow/releases/*/lib/python3.12/site-packages/mlflow/server.py",
      "a Python that does not start": "rm /opt/mlflow/releases/*/bin/python",
      "no release": "rm -r /opt/mlflow/releases",
    },
  },
  {
    step: "firewall-trial",
    damages: {
      "no rules": 'rm "$WORLD/.state/network/table"',
      "other rules": '[ ! -e "$WORLD/.state/network/table" ] || echo bad >>"$WORLD/.state/network/table"',
    },
  },
  {
    step: "firewall-kept",
    after: ["firewall-trial"],
    damages: {
      "other rules in the file":
        "echo 'table inet mlflow_vps { tcp dport { 2222 } accept }' >/etc/mlflow-vps/firewall.nft",
      "another unit": "echo changed >>/etc/systemd/system/mlflow-firewall.service",
      "a unit that is stopped": "systemctl stop mlflow-firewall.service",
      "a unit that does not start at boot": "systemctl disable mlflow-firewall.service",
    },
  },
]);
