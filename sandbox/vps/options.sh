# shellcheck shell=bash
# The options of 'up' and 'rebuild'.
set -euo pipefail

: "${project_root:?} ${command?} ${suite?} ${mirrors?} ${new_host_key?}" # of vps.sh

parse_options() {
  while [[ $# -gt 0 ]]; do
    case $1 in
      --suite)
        suite=$(one_of "$1" "${2-}" bookworm trixie)
        shift
        ;;
      --memory-mb)
        memory_mb=${2-}
        [[ $memory_mb =~ ^[1-9][0-9]{2,6}$ ]] || die "--memory-mb '$memory_mb': use a whole number of MB, 100 or more"
        shift
        ;;
      --from)
        from=$(one_of "$1" "${2-}" bare packaged served)
        shift
        ;;
      --mlflow)
        mlflow_version=${2-}
        [[ -e $project_root/components/tracking/runtime/locks/$mlflow_version.txt ]] ||
          die "--mlflow '$mlflow_version': there is no lock of it in components/tracking/runtime/locks"
        shift
        ;;
      --config)
        config=${2-}
        [[ -r $config ]] || die "--config '$config' cannot be read"
        shift
        ;;
      --mirrors)
        mirrors=$(one_of "$1" "${2-}" cached real)
        shift
        ;;
      --new-host-key)
        [[ $command == rebuild ]] || die "--new-host-key is for rebuild"
        new_host_key=yes
        ;;
      *) die "unknown option '$1': see sandbox/vps.sh --help" ;;
    esac
    shift
  done
  [[ -z $config || $from == served ]] || die "--config is for --from served"
}

# one_of OPTION VALUE ALLOWED...: the value.
one_of() {
  local option=$1 value=$2 allowed
  shift 2
  for allowed in "$@"; do
    if [[ $value == "$allowed" ]]; then
      printf '%s' "$value"
      return
    fi
  done
  die "$option '$value': use one of $*"
}
