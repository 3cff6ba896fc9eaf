#!/usr/bin/env bash
# The whole thing on this machine: a stand-in VPS, the program applied to it, an experiment logged on it.
#   demo.sh up      make it (npm run demo); run again, it changes nothing
#   demo.sh down    take everything down (npm run demo:down)
#   demo.sh client  only make the Python environment that the experiment runs in; prints where it is
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly guest=.sandbox/demo
readonly client=.sandbox/client
readonly state=$guest/state
readonly cache=${XDG_CACHE_HOME:-$HOME/.cache}/mlflow-vps

say() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

# A Python environment with exactly the packages that the experiment's lock names.
make_client() {
  if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    # If this fails, the next command says what is missing.
    { apt-get update --quiet && apt-get install --quiet --yes --no-install-recommends python3-venv; } >/dev/null || true
  fi
  scripts/pythonEnvironment.sh "$client" examples/iris/requirements.txt uv
}

# The Pulumi CLI: the one on PATH, or one that can be downloaded now; nothing without.
find_pulumi() {
  local version
  ! command -v pulumi || return 0
  version=$(node --print 'require("@pulumi/pulumi/package.json").version')
  if timeout 120 node --eval '
    const { PulumiCommand } = require("@pulumi/pulumi/automation");
    PulumiCommand.install({ root: process.argv[1] }).catch(() => process.exit(1));
  ' "$cache/pulumi-$version" >/dev/null 2>&1; then
    echo "$cache/pulumi-$version/bin/pulumi"
  fi
}

# In a directory of its own below the project, so that the CLI's marks in Pulumi.dev.yaml stay out of the checkout.
with_engine() {
  local pulumi=("$1" --cwd "$state")
  mkdir -p "$state"
  sed "s|^name: .*|name: mlflow-vps|; s|^main: .*|main: $PWD/index.ts|" Pulumi.yaml >"$state/Pulumi.yaml"
  [[ -e $state/Pulumi.dev.yaml ]] || cp "$config" "$state/Pulumi.dev.yaml"
  [[ -s $state/passphrase ]] || (umask 077 && head -c 32 /dev/urandom | base64 >"$state/passphrase")
  export PULUMI_BACKEND_URL=file://$PWD/$state PULUMI_CONFIG_PASSPHRASE_FILE=$PWD/$state/passphrase
  export PULUMI_SKIP_UPDATE_CHECK=true
  PATH=$(dirname "$1"):$PATH
  "${pulumi[@]}" stack select --create dev
  "${pulumi[@]}" up --yes --skip-preview
  (umask 077 && "${pulumi[@]}" stack output --json --show-secrets >"$state/outputs.json")
}

output() { node --print "require('./$state/outputs.json').$1"; }

up() {
  local pulumi address tracking_uri user
  scripts/npmInstall.sh
  say "the stand-in VPS"
  sandbox/vps.sh up demo
  # The stack dev, with the address that this machine had free.
  readonly config=$PWD/$guest/Pulumi.dev.yaml
  address=$(sandbox/vps.sh address demo)
  [[ -e $config ]] || sed "s/10\.77\.1\.2/$address/" Pulumi.dev.yaml >"$config"

  make_client >"$guest/client.log" 2>&1 &
  local making_client=$!
  say "the program, applied to it"
  if [[ -e $state/generated.json ]]; then
    pulumi='' # made without an engine: it stays so
  else
    pulumi=$(find_pulumi)
  fi
  if [[ -n $pulumi ]]; then
    with_engine "$pulumi"
  else
    echo "No Pulumi CLI here: the program is applied without an engine, so there is no state, no preview and no drift check."
    scripts/start.cjs sandbox/engineless/main.ts up --config "$config" --state "$state"
  fi

  say "the Python environment of the experiment"
  wait "$making_client" || { cat "$guest/client.log" >&2 && exit 1; }
  say "the experiment"
  output caCertificate >"$guest/mlflow-ca.pem"
  # With the whole path, so that it works from everywhere.
  (umask 077 && output clientEnv | sed "s|=mlflow-ca.pem|=$PWD/$guest/mlflow-ca.pem|" >"$guest/client.env")
  set -a
  # shellcheck disable=SC1091 # made just now
  . "$guest/client.env"
  set +a
  "$client/bin/python" examples/iris/iris.py --once --plot "$guest/accuracy.png"

  say "done"
  tracking_uri=$(output trackingUri)
  user=$(node --print "Object.keys(require('./$state/outputs.json').users)[0]")
  cat <<EOF
  Tracking URI   $tracking_uri
  User           $user
  Password       sed -n s/MLFLOW_TRACKING_PASSWORD=//p $guest/client.env
  Web interface  open $tracking_uri in a browser on this machine, with that user and password; the browser
                 warns, for it does not know the certificate authority in $guest/mlflow-ca.pem
  As a client    set -a; . $guest/client.env; set +a
  On the host    sandbox/vps.sh run demo bash
  Take it down   npm run demo:down
EOF
}

case ${1:-} in
  up) up ;;
  down)
    sandbox/vps.sh down demo
    echo "The stand-in VPS is gone. Kept for the next time: the base image in $cache, the client's Python in $client."
    ;;
  client)
    make_client >&2
    echo "$client/bin/python"
    ;;
  *) echo "usage: sandbox/demo.sh up|down|client" >&2 && exit 1 ;;
esac
