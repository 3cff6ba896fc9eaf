# shellcheck shell=bash
# A release: a Python environment with MLflow, made of exactly the files that the lock names; complete, or absent.

readonly contents=$release/.contents # what the release was made of: one line per file, to see damage

# Compiled bytecode does not count: Python writes it whenever root runs something from the release. The name of root is
# written out, because find looks up names again for every file.
list_contents() {
  (cd "$1" && find . -name __pycache__ -prune -o -type d -o -path ./.contents -o \
    -user root -printf '%P %y %m root %s %T@ %l\n' -o -printf '%P %y %m %u %s %T@ %l\n' | LC_ALL=C sort)
}

check() {
  local changed python files number code=0
  if [[ ! -f $contents ]]; then
    problem "release $release is missing"
    return
  fi
  python=$("$release/bin/python" -I -S -c 'import sys; print("python%d.%d" % sys.version_info[:2])' 2>/dev/null) || code=$?
  if ((code != 0)); then
    problem "release $release: its Python interpreter does not start (exit code $code)"
  elif [[ ! -d $release/lib/$python ]]; then
    problem "release $release was built for another Python than the host's $python"
  fi
  changed=$(list_contents "$release" | LC_ALL=C comm -3 --nocheck-order - "$contents" | sed 's/^\t//; s/ .*//' | sort -u)
  if [[ -n $changed ]]; then
    mapfile -t files <<<"$changed"
    number=${#files[@]}
    problem "release $release was changed: $number files, first ${files[0]}"
  fi
}

install_uv() {
  local pip
  [[ ! -x $uv/bin/uv ]] || return 0
  # The distribution's pip, from which it makes environments; it runs from its archive.
  pip=$(find /usr/share/python-wheels -name 'pip-*.whl' -print -quit)
  [[ -n $pip ]] || fail "there is no pip in /usr/share/python-wheels: 'sudo apt-get install --reinstall python3-pip-whl' on the host brings it back"
  rm -rf "$uv.new"
  install -d -m 0755 "$uv.new"
  printf '%s' "$uv_lock" >"$uv.new/requirements.txt"
  logged "installing uv" "$interpreter" "$pip/pip" install --quiet --no-cache-dir --no-compile --only-binary :all: \
    --require-hashes --target "$uv.new" --requirement "$uv.new/requirements.txt"
  rm -rf "$uv"
  mv "$uv.new" "$uv"
}

# import_server BUILDING: proves that the server can be imported, compiles what it imports (the service may not write here,
# and would compile at every start), and keeps the newest migration that it knows, so that a check need not import MLflow
# to compare.
import_server() {
  logged "importing MLflow $version" "$1/bin/python" -c '
import gc, importlib, importlib.util, sys
gc.disable()  # there is none yet
import mlflow, mlflow.cli, mlflow.server, mlflow.store.tracking.sqlalchemy_store, psycopg2
by_uvicorn = importlib.util.find_spec("mlflow.server.fastapi_app")  # from MLflow 3 on
for server in ["mlflow.server.fastapi_app", "uvicorn.main"] if by_uvicorn else ["gunicorn.app.wsgiapp"]:
    importlib.import_module(server)
from mlflow.store.db.utils import _get_latest_schema_revision
assert mlflow.__version__ == sys.argv[1], mlflow.__version__
print(_get_latest_schema_revision(), file=open(sys.argv[2], "w"))
' "$version" "$1/schema"
}

apply() {
  local building=$release.new cache python interpreter
  # The distribution's own, wherever alternatives lead /usr/bin/python3.
  python=$(sed -n 's/^default-version *= *python//p' /usr/share/python3/debian_defaults)
  [[ " ${pythons[*]} " == *" $python "* ]] || fail "the host has Python $python; MLflow $version is locked for ${pythons[*]}"
  install -d -m 0755 "$(dirname "$release")"
  interpreter=$(command -v "python$python")
  install_uv
  say "installing MLflow $version for Python $python"
  # An incomplete release is of no use, and must not keep a disk full.
  cache=$(dirname "$uv")/.uv-cache
  at_exit rm -rf "$building" "$cache"
  rm -rf "$building"
  logged "creating a Python environment" "$uv/bin/uv" venv --quiet --relocatable --python "$interpreter" "$building"
  printf '%s' "$lock" >"$building/requirements.txt"
  UV_CACHE_DIR=$cache UV_SYSTEM_CERTS=true logged "installing MLflow $version" \
    "$uv/bin/uv" pip install --quiet --python "$building/bin/python" --require-hashes --only-binary :all: \
    --link-mode hardlink --requirement "$building/requirements.txt"
  import_server "$building"
  list_contents "$building" >"$building/.contents"
  if [[ -d $release ]]; then
    rm -rf "$release.old"
    mv "$release" "$release.old"
  fi
  mv "$building" "$release"
  rm -rf "$release.old"
}

remove() {
  rm -rf /opt/mlflow/releases /opt/mlflow/uv-* /opt/mlflow/.uv-cache
  [[ ! -d /opt/mlflow ]] || rmdir --ignore-fail-on-non-empty /opt/mlflow
}
