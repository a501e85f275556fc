# Shell functions shared by the scripts of this folder. Source it; it starts nothing and writes nothing.
# shellcheck shell=bash

leadline_cache="${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/leadline"
LEADLINE_TOOLS="${LEADLINE_TOOLS:-$leadline_cache/tools}"
# Outside of the checkout: build output is large and must never meet a commit or a backup of the source.
CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$leadline_cache/target}"
export LEADLINE_TOOLS CARGO_TARGET_DIR

# shellcheck disable=SC2034  # for those who source this
leadline_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"

# say TEXT...: a line for the reader, on standard error, so that standard output stays data.
say() { printf '%s\n' "$*" >&2; }

# die TEXT...: says what is wrong and ends with status 1.
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# need_root: ends unless root runs it. The Samba server changes to its users, who are made for it.
need_root() { ((EUID == 0)) || die "run it as root: it starts a Samba server with users of its own"; }

# free_port: a loopback port that was free a moment ago, below those that outgoing connections are given.
free_port() {
    python3 -c 'import random, socket
while True:
    try:
        s = socket.socket(); s.bind(("127.0.0.1", random.randrange(15000, 31000))); break
    except OSError:
        pass
print(s.getsockname()[1])'
}

# port_answers PORT: whether something takes connections on it.
port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# wait_for SECONDS WHAT COMMAND...: polls COMMAND until it succeeds; status 1 and a line with WHAT after SECONDS.
wait_for() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        if ((SECONDS >= deadline)); then
            say "gave up waiting: $what"
            return 1
        fi
        sleep 0.05
    done
}

# gone PID: whether that process has ended (a zombie has).
gone() {
    local state
    state=$(ps -o stat= -p "$1" 2>/dev/null) || return 0
    [[ -z $state || $state == Z* ]]
}

# descendants PID: its children, their children and so on, one a line, without PID itself.
descendants() {
    local child
    for child in $(ps -o pid= --ppid "$1" 2>/dev/null); do
        printf '%s\n' "$child"
        descendants "$child"
    done
}

# stop_pid PID [SECONDS]: SIGTERM to it, SIGKILL after SECONDS (default 5) to it and whatever it started; waits for the end.
stop_pid() {
    local pid=$1 limit=${2:-5} children each
    gone "$pid" && return 0
    children=$(descendants "$pid")
    kill -TERM "$pid" 2>/dev/null || true
    wait_for "$limit" "end of process $pid" gone "$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
    for each in $children; do
        gone "$each" || kill -KILL "$each" 2>/dev/null || true
    done
    for each in $pid $children; do
        wait_for 5 "end of process $each" gone "$each" || return 1
    done
}
