# shellcheck shell=dash disable=SC2154 # the shim, which reads this file, has set them
# What the units of the host do when they start, stop and reload.

read_upstream() { [ ! -e "$WORLD/etc/mlflow-vps/upstream.conf" ] || /bin/cp "$WORLD/etc/mlflow-vps/upstream.conf" "$WORLD/.state/nginx-upstream"; }

start_unit() {
  case $unit in
    nginx.service)
      /bin/sh -c '. "$1"' sh "$stubs/nginx.sh" >/dev/null || exit 1
      pid=200
      start_process 200 "nginx: master process" 8443 8080
      start_process 201 "nginx: worker process"
      echo 201 >"$WORLD/proc/200/task/200/children"
      read_upstream
      ;;
    mlflow@*.service)
      instance=${unit#*@} instance=${instance%.service} pid=$instance
      environment=$WORLD/etc/mlflow-vps/mlflow-$instance.env
      [ -e "$environment" ] || { echo "Failed to load environment files" >&2 && exit 1; }
      release=$(/usr/bin/sed -n 's/^MLFLOW_VPS_RELEASE=//p' "$environment")
      for file in "$release/bin/mlflow" "$WORLD/etc/mlflow-vps/mlflow-$instance.py"; do
        [ -e "$file" ] || { echo "$file is missing" >&2 && exit 1; }
      done
      [ "$instance" != rehearsal ] || pid=600
      port=$(/usr/bin/sed -n 's/^MLFLOW_PORT=//p' "$environment" | /usr/bin/tail -n 1)
      start_process "$pid" "$release/bin/python $WORLD/etc/mlflow-vps/mlflow-$instance.py server" "$port"
      /bin/mkdir -p "$WORLD/sys/fs/cgroup/system.slice/$unit"
      echo "$pid" >"$WORLD/sys/fs/cgroup/system.slice/$unit/cgroup.procs"
      . "$stubs/mlflow_tables.sh"
      ;;
    postgresql@*.service)
      . "$stubs/postgres.sh"
      pid=300 && start_process 300 "postgres -D main" 5433 && : >"$pg/up" && load_all_settings
      ;;
    handmade.service) pid=400 && start_process 400 "mlflow server" 5000 && /bin/ln -sfn "$WORLD/srv/old" "$WORLD/proc/400/cwd" ;;
    *) pid=1000 ;;
  esac
}

stop_unit() {
  case $unit in
    nginx.service) end_process 201 && end_process 200 ;;
    postgresql@*.service) end_process 300 && /bin/rm -f "$WORLD/.state/pg/up" ;;
    mlflow@*.service | handmade.service) end_process "$pid" ;;
  esac
}

reload_unit() {
  case $unit in
    nginx.service)
      # A reload with files that nginx refuses leaves all as it is.
      /bin/sh -c '. "$1"' sh "$stubs/nginx.sh" >/dev/null || exit 1
      started_now 201
      read_upstream
      ;;
    postgresql@*.service) . "$stubs/postgres.sh" && load_settings ;;
  esac
}

show_property() {
  case $property in
    TimersCalendar | RandomizedDelayUSec | Persistent) . "$stubs/timers.sh" ;;
    ExecStart) /usr/bin/sed -n 's/^ExecStart=\(.*\)/{ path=x ; argv[]=\1 ; ignore_errors=no ; start_time=[n\/a] }/p' "$text" ;;
    Environment | WorkingDirectory) /usr/bin/sed -n "s/^$property=//p" "$text" ;;
    EnvironmentFiles) /usr/bin/sed -n 's/^EnvironmentFile=\(.*\)/\1 (ignore_errors=no)/p' "$text" ;;
    RestrictAddressFamilies) echo ;;
    Listen) /usr/bin/sed -n 's/^ListenStream=\(.*\)/\1 (Stream)/p' "$text" ;;
    *) echo "systemctl: the stub does not know the property $property" >&2 && exit 64 ;;
  esac
}
