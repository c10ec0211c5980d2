#!/usr/bin/env bash
# unshare -m bash boot.sh DIRECTORY: boots the systemd of this machine in a container, with the files of this machine under
# it as they are: what it writes is gone with it. It runs DIRECTORY/inside.sh, and then ends. DIRECTORY is /out there.
set -euo pipefail
here=$1
mount --make-rprivate /
# Machines with cgroups of both versions: a container takes the second alone.
umount -R /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mkdir "$here/layers"
mount -t tmpfs none "$here/layers"
mkdir "$here"/layers/{upper,work,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$here/layers/upper,workdir=$here/layers/work" "$here/layers/root"
system=$here/layers/root/etc/systemd/system
rm -rf "$system"/*.wants
ln -sf /lib/systemd/system/multi-user.target "$system/default.target"
mkdir "$system/multi-user.target.wants"
tr -d - </proc/sys/kernel/random/uuid >"$here/layers/root/etc/machine-id"
cat >"$system/inside.service" <<'END'
[Unit]
After=basic.target
[Service]
Type=oneshot
ExecStart=bash /out/inside.sh
ExecStopPost=systemctl poweroff --force
END
ln -sf ../inside.service "$system/multi-user.target.wants/inside.service"
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
exec systemd-nspawn --quiet --register=no --keep-unit --private-network --bind="$here:/out" \
    --directory="$here/layers/root" --boot --console=pipe
