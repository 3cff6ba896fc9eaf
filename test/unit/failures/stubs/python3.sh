# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# Runs what the steps run with it.
case "$*" in
  */python-wheels/pip-*"/pip install "*)
    while [ "$1" != --target ]; do shift; done
    /bin/mkdir -p "$2/bin" && /bin/ln -sfn "$SHIMS/uv" "$2/bin/uv"
    ;;
  *'"python%d.%d" % sys.version_info'*) echo python3.12 ;;
  *_get_latest_schema_revision*) echo "schema-of-$3" >"$4" ;;
  *SCRAM-SHA-256*) read -r password || true; echo "SCRAM-SHA-256\$4096:salt\$$password" ;;
  *'os.rename(sys.argv[1], sys.argv[2])'*) shift 2 && set -- -T "$@" && . "$stubs/mv.sh" ;;
  *'The sites of nginx that lead to a port'*)
    for site in "$WORLD"/etc/nginx/sites-enabled/*; do
      [ "$site" = "$4" ] || ! /usr/bin/grep -qs "proxy_pass http://127.0.0.1:$3;" "$site" || printf '%s\t\n' "$site"
    done
    ;;
  *'requests in place of ours'*) ;;
  *Fernet*) while IFS='|' read -r _ identity name; do [ -z "$identity" ] || echo "$identity $name"; done ;;
  *'smoke test'*) . "$stubs/smoke.sh" ;;
  *) echo "python3: the stub does not know: $*" >&2 && exit 64 ;;
esac
exit
