#!/bin/sh
# Starts the gateway. `npm start` and the image both come through here, so that what was measured in one place
# is what runs in the other. The self-check reports each of these conditions.
set -euf

usage() {
  cat >&2 <<'END'
usage: launch.sh [OPTION]... --config FILE
       launch.sh [OPTION]... -- COMMAND [ARGUMENT]...

  --config FILE         serve with this configuration; the gateway may read it
  -- COMMAND ...        run another vouchgate command under the same conditions
  --workers             the gateway may start the processes that its configuration asks for (workers); these may start none
  --read PATH           the gateway may read this file or folder too (secrets)
  --write FILE          the gateway may write this file (sessions.path): the self-check says that it can
  --env NAME            pass this variable on (secrets); nothing else of the environment is
  --quote-agent SOCKET  first start the quote agent (configfs-tsm) on this unix socket
  --tsm-root DIR        where the kernel's report directory is (/sys/kernel/config/tsm/report)
END
  exit 2
}

absolute() {
  case $1 in
    /*) printf '%s\n' "$1" ;;
    *) printf '%s\n' "$PWD/$1" ;;
  esac
}

app=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
node=$(command -v node) || { echo 'launch.sh: there is no node on the PATH' >&2; exit 1; }
config='' names='' agent='' leads='' tsm_root=/sys/kernel/config/tsm/report

# What is left to read is always at the front of "$@", and what goes to node is collected behind it.
left=$#
while [ "$left" -gt 0 ] && [ "$1" != -- ]; do
  if [ "$1" = --workers ]; then
    leads=--allow-child-process
    shift
    left=$((left - 1))
    continue
  fi
  [ "$left" -ge 2 ] || usage
  option=$1 value=$2
  shift 2
  left=$((left - 2))
  case $option in
    --config) config=$(absolute "$value") && set -- "$@" "--allow-fs-read=$config" ;;
    --read) set -- "$@" "--allow-fs-read=$(absolute "$value")" ;;
    --write) set -- "$@" "--allow-fs-read=$(absolute "$value")" "--allow-fs-write=$(absolute "$value")" ;;
    --env)
      case $value in
        # These change what node, OpenSSL or the loader do, or where they write.
        NODE_* | LD_* | SSL* | OPENSSL_* | OTEL_* | SENTRY_* | MALLOC_* | UV_* | GLIBC_* | *_PROXY) usage ;;
        '' | [0-9]* | *[!A-Z0-9_]*) usage ;;
      esac
      names="$names $value"
      ;;
    --quote-agent) agent=$(absolute "$value") ;;
    --tsm-root) tsm_root=$(absolute "$value") ;;
    *) usage ;;
  esac
done

set -- "$@" \
  "--allow-fs-read=$app" \
  --allow-fs-read=/proc/self \
  --allow-fs-read=/proc/swaps \
  --allow-fs-read=/proc/sys/kernel/core_pattern \
  --allow-fs-read=/etc/ssl/certs \
  "$app/cli/main.ts"
if [ "$left" -gt 0 ]; then
  [ -z "$config" ] && [ "$left" -ge 2 ] || usage
  shift
  left=$((left - 1))
  while [ "$left" -gt 0 ]; do
    argument=$1
    shift
    set -- "$@" "$argument"
    left=$((left - 1))
  done
else
  [ -n "$config" ] || usage
  set -- "$@" serve --config "$config"
fi

flags=''
while read -r line; do
  case $line in
    '' | '#'*) ;;
    *) flags="$flags $line" ;;
  esac
done <"$app/enclave/launch-flags.txt"
# The flags are words without blanks: they are meant to be split.
# shellcheck disable=SC2086
set -- "$node" $flags $leads "$@"

# The values stand in the arguments of env for the moment until it becomes node; files (--read) never do.
for name in $names; do
  eval "value=\${$name-}"
  [ -n "$value" ] || { echo "launch.sh: $name is not set" >&2; exit 1; }
  set -- "$name=$value" "$@"
done
set -- PATH=/usr/local/bin:/usr/bin:/bin NODE_ENV=production "$@"

# A core would hold prompts. The kernel ignores the limit where cores are piped to a program, but then it
# still writes no memory into them: the filter survives exec.
ulimit -Sc 0
ulimit -Hc 0
if [ -e /proc/self/coredump_filter ]; then echo 0 >/proc/self/coredump_filter; fi
umask 077
cd "$app"

if [ -z "$agent" ]; then
  exec env -i "$@"
fi

# Making a quote needs the right to write files. The agent has it, and sees no prompt; the gateway does not.
rm -f -- "$agent"
# shellcheck disable=SC2086
env -i PATH=/usr/local/bin:/usr/bin:/bin NODE_ENV=production "$node" $flags \
  "--allow-fs-read=$app" "--allow-fs-read=$tsm_root" "--allow-fs-write=$tsm_root" \
  "$app/enclave/quote-agent.ts" --socket "$agent" --tsm-root "$tsm_root" &
agent_pid=$!
tries=0
until [ -S "$agent" ]; do
  tries=$((tries + 1))
  if [ "$tries" -gt 100 ] || ! kill -0 "$agent_pid" 2>/dev/null; then
    echo 'launch.sh: the quote agent did not start' >&2
    kill "$agent_pid" 2>/dev/null || :
    exit 1
  fi
  sleep 0.1
done

env -i "$@" &
gateway_pid=$!
trap 'kill -TERM "$gateway_pid" 2>/dev/null || :' TERM INT HUP
# A trapped signal ends `wait` before the gateway has ended: it is draining.
status=0
while :; do
  status=0
  wait "$gateway_pid" || status=$?
  kill -0 "$gateway_pid" 2>/dev/null || break
done
kill -TERM "$agent_pid" 2>/dev/null || :
wait "$agent_pid" || :
exit "$status"
