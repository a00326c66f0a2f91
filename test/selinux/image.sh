#!/bin/bash
# Makes, in the directory it is given, a disk of Debian trixie that boots with SELinux enforcing: disk.ext4, vmlinuz, initrd.
# Nothing of Ashlar's is on it: that is a disk of its own, where the labels are the agent's to give.
set -euo pipefail
umask 022
out=$1 mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
work=$(mktemp --directory "$out.XXXXXX")
trap 'rm --recursive --force --one-file-system "$work"' EXIT
root=$work/root
packages=systemd-sysv,udev,dbus,kmod,procps,iproute2,linux-image-cloud-amd64,initramfs-tools,zstd
packages+=,selinux-policy-default,policycoreutils,selinux-utils,auditd,libseccomp2,iptables,ca-certificates
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mmdebstrap --quiet --variant=minbase ${keyring:+--keyring="$keyring"} --include="$packages" \
  --aptopt='Acquire::Retries "5"' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' trixie "$root" "$mirror"

printf 'SELINUX=enforcing\nSELINUXTYPE=default\n' > "$root/etc/selinux/config"
printf 'guest\n' > "$root/etc/hostname"
mkdir -p "$root/etc/ashlar" "$root/opt/ashlar"
# What the machine is. It knows of no Vault, and goes by what is on its disk.
cat > "$root/etc/ashlar/boot.json" <<EOF
{"desired": {"cluster": "guest", "self": "worker-0", "machines": [{"name": "worker-0", "role": "worker", "address": "127.0.0.1"}],
 "ceilings": [{"class": "restricted", "disk": {"write": "4Mi"}}]}}
EOF
cat > "$root/etc/systemd/system/opt-ashlar.mount" <<EOF
[Mount]
What=/dev/vdb
Where=/opt/ashlar
Type=ext4
Options=defcontext=system_u:object_r:usr_t:s0
EOF
# As in terraform/aws/user-data.yaml.tftpl.
cat > "$root/etc/systemd/system/ashlar.service" <<EOF
[Unit]
RequiresMountsFor=/opt/ashlar
[Service]
ExecStartPre=/usr/sbin/restorecon -RF /opt/ashlar
ExecStart=/opt/ashlar/bundle/bin/ashlar agent
Restart=always
RestartSec=1
KillMode=process
Delegate=yes
OOMPolicy=continue
TasksMax=infinity
[Install]
WantedBy=multi-user.target
EOF
cat > "$root/etc/systemd/system/guest.service" <<EOF
[Unit]
RequiresMountsFor=/opt/ashlar
After=ashlar.service auditd.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c '/opt/ashlar/guest /dev/ttyS1; sync; echo o > /proc/sysrq-trigger'
TimeoutStartSec=infinity
[Install]
WantedBy=multi-user.target
EOF
cat > "$root/etc/systemd/system/guest-network.service" <<EOF
[Unit]
Before=ashlar.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'mkdir -p /run/cni/net.d && cp /etc/guest-network.conflist /run/cni/net.d/10-guest.conflist'
[Install]
WantedBy=multi-user.target
EOF
cat > "$root/etc/guest-network.conflist" <<EOF
{"name": "guest", "cniVersion": "1.0.0", "plugins": [{"type": "ptp", "ipam": {"type": "host-local", "dataDir": "/run/cni/leases", "ranges": [[{"subnet": "10.96.0.0/24"}]]}}]}
EOF
for unit in ashlar guest guest-network; do ln -s /etc/systemd/system/$unit.service "$root/etc/systemd/system/multi-user.target.wants/"; done
for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer dpkg-db-backup.timer systemd-timesyncd.service systemd-networkd-wait-online.service getty@tty1.service; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*

cp "$root"/boot/vmlinuz-* "$work/vmlinuz"
cp "$root"/boot/initrd.img-* "$work/initrd"
# Labelled here, the guest need not label itself and boot again.
chroot "$root" setfiles -m -F -e /proc -e /sys -e /dev /etc/selinux/default/contexts/files/file_contexts /
truncate --size=2G "$work/disk.ext4"
mke2fs -q -t ext4 -d "$root" "$work/disk.ext4"
rm --recursive --force --one-file-system "$root"
mv --no-target-directory "$work" "$out"
