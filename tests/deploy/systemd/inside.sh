#!/usr/bin/env bash
# Installs the unit as docs/deployment.md says, and writes to /out/told what becomes of it: a word in each line.
exec >/out/log 2>&1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
told() { echo "$1=$2" >>/out/told; }
value() { systemctl show -P "$1" roomcast; }
# until_it COMMAND...: waits for 10 s until it succeeds.
until_it() {
    for _ in {1..200}; do
        if "$@" 2>/dev/null; then return; fi
        sleep 0.05
    done
    return 1
}
ready() { roomcast healthcheck --ready --listen 127.0.0.1:8080; }
is() { [ "$(value "$1")" = "$2" ]; }
told booted "$(systemctl --version | head -n 1)"

install -m 755 /out/roomcast /usr/local/bin/
install -d -m 755 /etc/roomcast
install -m 644 /out/roomcast.toml /etc/roomcast/
install -m 644 /out/roomcast.service /etc/systemd/system/
(
    umask 077
    openssl rand -base64 48 >/etc/roomcast/session-secret
    openssl rand -base64 48 >/etc/roomcast/token-secret
)
systemctl daemon-reload
systemctl enable --now roomcast
until_it ready
told ready $?
process=$(value MainPID)
told user "$(awk '/^Uid:/ {print $2}' "/proc/$process/status")"
told capabilities "$(awk '/^CapEff:/ {print $2}' "/proc/$process/status")"
told filtered "$(awk '/^Seccomp:/ {print $2}' "/proc/$process/status")"
told secrets "$(runuser -u nobody -- cat /etc/roomcast/session-secret /run/credentials/roomcast.service/* 2>/dev/null | wc -c)"

systemctl reload roomcast
told reloaded $?
until_it ready
told after_reload "$(value MainPID | grep -cx "$process")"

kill -KILL "$process"
until_it is NRestarts 1
until_it ready
told after_a_crash $?

systemctl stop roomcast
told stopped "$(value Result)/$(value ExecMainStatus)"

printf '[limits]\nbrust = 7\n' >>/etc/roomcast/roomcast.toml
systemctl start roomcast
until_it is ActiveState failed
told wrong_settings "$(value ExecMainStatus), started again $(value NRestarts) times"
journalctl --no-pager -u roomcast -o cat
