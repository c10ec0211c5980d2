#!/bin/sh
# Runs third-party WebSocket clients against the example `echo`. See README.md.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work="${CARGO_TARGET_DIR:-$root/target}/conformance"
parts="${*:-kosoku ws websockets}"
mkdir -p "$work"

echo_pid=
stop() {
    if [ -n "$echo_pid" ]; then
        kill "$echo_pid" 2>/dev/null || true
    fi
}
trap stop EXIT INT TERM

if [ -z "${ROOMCAST_ECHO:-}" ]; then
    (cd "$root" && cargo build --quiet --release -p roomcast-websocket --example echo)
    "${CARGO_TARGET_DIR:-$root/target}/release/examples/echo" 127.0.0.1:0 >"$work/echo.log" 2>&1 &
    echo_pid=$!
    # The first line has the address.
    tries=0
    until grep -q 'listening on' "$work/echo.log"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 100 ]; then
            echo "conformance: the echo example did not start" >&2
            exit 1
        fi
        sleep 0.1
    done
    ROOMCAST_ECHO=$(sed -n 's,.*ws://,,p' "$work/echo.log" | head -n 1)
fi

case "$parts" in *kosoku* | *websockets*)
    if [ ! -x "$work/venv/bin/kosoku" ]; then
        python3 -m venv "$work/venv"
        "$work/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    fi
    ;;
esac

failed=
for part in $parts; do
    case "$part" in
    kosoku)
        rm -rf "$work/kosoku"
        include=
        set -f
        for case in ${KOSOKU_CASES:-}; do
            include="$include -i $case"
        done
        # shellcheck disable=SC2086
        "$work/venv/bin/kosoku" -p 4 -o "$work/kosoku" $include "$ROOMCAST_ECHO" >"$work/kosoku.log" 2>&1 ||
            tail -n 20 "$work/kosoku.log" >&2
        set +f
        "$work/venv/bin/python" "$here/kosoku_verdict.py" "$work/kosoku/index.json" "${KOSOKU_CASES:-}" ||
            failed="$failed kosoku"
        ;;
    ws)
        if [ ! -d "$here/node_modules/ws" ]; then
            (cd "$here" && npm ci --silent --no-audit --no-fund)
        fi
        node "$here/ws_client.js" "$ROOMCAST_ECHO" || failed="$failed ws"
        ;;
    websockets)
        "$work/venv/bin/python" "$here/websockets_client.py" "$ROOMCAST_ECHO" || failed="$failed websockets"
        ;;
    *)
        echo "conformance: unknown part $part" >&2
        exit 64
        ;;
    esac
done

if [ -n "$failed" ]; then
    echo "conformance: failed:$failed" >&2
    exit 1
fi
