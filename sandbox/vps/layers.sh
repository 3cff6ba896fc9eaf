# shellcheck shell=bash
# The layers that the disks of the guests stand on. Each is made once, by what it is for:
#
#   base      debootstrap's minimal Debian of a suite
#   bare      a provider's image: the sudo user, the authorities that this machine trusts
#   packaged  the packages and the release of MLflow, as the program's own steps install them
#   served    the program applied, then the parts that are one server's own removed: service, proxy, certificate
#
# A layer is named by a digest of all that makes it, so one of an older source is never used. $layer/disk holds its files,
# $layer/state what the program noted down, $layer/stack the directories of this layer and of those below it, top first,
# $layers_dir/guests the folders of the guests that stand on layers.
set -euo pipefail

: "${project_root:?} ${cache_dir:?} ${cache_authority:?} ${suite?}" # of vps.sh and cache.sh
layers_dir=$cache_dir/layers

# Prints what a kind of layer is made of, for its digest. These files make all of them; the program makes the upper
# ones, by its own files.
ingredients_of() (
  files=() program=(index.ts Pulumi.yaml package-lock.json config components/args.ts components/mlflowServer.ts components/schema components/server sandbox/engineless)
  case $1 in
    bare)
      cat "$cache_dir/$suite/.id" "$project_root"/sandbox/vps/{suite,disk,bare,layers}.sh \
        "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}"
      [[ ! -e $cache_authority ]] || cat "$cache_authority"
      return
      ;;
    packaged) program+=(components/step components/host/packages components/tracking/release.ts components/tracking/runtime) ;;
    served) program+=(components) ;;
  esac
  printf '%s\n' "$mlflow_version"
  date --utc +%G-%V # the mirrors move on: a layer is of this week
  cd "$project_root" || die "cannot enter $project_root"
  shopt -s globstar nullglob
  for path in "${program[@]}"; do
    if [[ -d $path ]]; then files+=("$path"/**/*.*); else files+=("$path"); fi
  done
  sha256sum "${files[@]}"
)

default_mlflow() { sed -n '/^  mlflow\.version:/,/default:/s/.*default: //p' "$project_root/Pulumi.yaml"; }

# use_layer KIND: makes the layer and those below it where they are missing; $layer is where it is.
use_layer() {
  local kind=$1 below='' ingredients digest slot
  mlflow_version=${mlflow_version:-$(default_mlflow)}
  case $kind in
    bare) make_base "$suite" ;;
    packaged) below=bare ;;
    served) below=packaged ;;
  esac
  if [[ -n $below ]]; then
    use_layer "$below"
    below=$layer
  fi
  slot=$suite-$kind
  [[ $kind == bare ]] || slot+=-$mlflow_version
  ingredients=$(ingredients_of "$kind")
  digest=$(digest_of "$kind $below $ingredients")
  layer=$layers_dir/$slot-$digest
  mkdir -p "$layers_dir"
  exec 6>"$layer.lock"
  await_maker 6 "$layer.lock" "the layer ${layer##*/}"
  if [[ ! -d $layer ]]; then
    make_layer "$kind" "$below"
    remove_stale_layers
  fi
  touch "$layer"
  exec 6>&-
}

# make_layer KIND BELOW: $layer, on the one below. It has a guest of its own.
make_layer() {
  local kind=$1 below=$2 building=$layer.new stack=$cache_dir/$suite
  local name=layer dir=$building/guest
  # shellcheck disable=SC2034 # for disk.sh
  local disk_in=directory # a layer is kept
  say "making the layer ${layer##*/} (once)"
  # Left-overs of an interrupted run: nobody else works here while we hold the lock.
  discard_guest
  remove_tree "$building"
  mkdir -p "$building/disk" "$building/state" "$dir"
  printf 'config:\n  mlflow-vps:mlflow.version: %s\n' "$mlflow_version" >"$building/config.yaml"
  if [[ $kind == bare ]]; then
    mount_disk "$stack" "$dir/disk" "$dir/root"
    make_bare "$dir/root"
  else
    stack=$(<"$below/stack")
    make_keys
    make_disk "$stack" 2048
    boot
    "make_$kind" "$building/state" "$building/config.yaml" "$below/state"
    power_off
  fi
  forget_identity "$dir/root"
  unmount "$dir/root"
  mv "$dir/disk/upper" "$building/disk/"
  printf '%s' "$layer/disk/upper:$stack" >"$building/stack"
  discard_guest
  sync --file-system "$building" # a layer stays, other than a guest's disk
  mv "$building" "$layer"
}

# make_packaged and make_served STATE CONFIG STATE_BELOW

make_packaged() { run_program up "$1" "$2" --only packages-python,packages-servers,runtime; }

# The service starts once, so the database has its tables.
make_served() {
  run_program up "$1" "$2" --base "$3"
  run_program destroy "$1" "$2" --only proxy,service,certificate
  rm "$1/generated.json" "$1/outputs.json"
  rm "$dir/root/var/backups/mlflow-vps/keys" # each guest makes its own
}

# run_program ACTION STATE CONFIG [ARGUMENT...]: the program, applied to this guest without an engine.
run_program() {
  local action=$1 state=$2 config=$3 log=$dir/program.log
  shift 3
  "$project_root/scripts/npmInstall.sh" >&2
  "$project_root/scripts/start.cjs" sandbox/engineless/main.ts "$action" --guest "$dir" --state "$state" \
    --config "$config" "$@" >"$log" 2>&1 </dev/null || {
    tail -n 30 "$log" >&2
    die "the program could not be applied to '$name': see the lines above and $log"
  }
}
