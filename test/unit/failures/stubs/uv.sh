# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
case "$*" in
  'venv '*)
    for target; do :; done
    /bin/mkdir -p "$target/bin" "$target/lib/python3.12/site-packages" && /bin/ln -sfn "$SHIMS/python" "$target/bin/python"
    ;;
  'pip install '*)
    while [ "$1" != --python ]; do shift; done
    target=${2%/bin/python}
    /bin/mkdir -p "$target/lib/python3.12/site-packages/mlflow/store/db_migrations/versions"
    : >"$target/lib/python3.12/site-packages/mlflow/store/db_migrations/versions/schema-of-3.16.1_x.py"
    echo 'a module' >"$target/lib/python3.12/site-packages/mlflow/server.py"
 /bin/ln -sfn "$SHIMS/mlflow" "$target/bin/mlflow"
    ;;
  *) echo "uv: the stub does not know: $*" >&2 && exit 64 ;;
esac
exit
