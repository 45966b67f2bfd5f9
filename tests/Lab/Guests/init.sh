#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# Process 1 of the lab guest. Everything a host must know is a line on the serial console that begins with a word in capitals.
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -onlcr 2>/dev/null

say() { echo "$*"; }
mode=idle pace=0 keep=200 seed=1 bulk=0 expect=0
for word in $(cat /proc/cmdline); do
    case $word in
        tidemark.mode=*) mode=${word#*=} ;;
        tidemark.pace=*) pace=${word#*=} ;;
        tidemark.keep=*) keep=${word#*=} ;;
        tidemark.seed=*) seed=${word#*=} ;;
        tidemark.bulk=*) bulk=${word#*=} ;;
        tidemark.expect=*) expect=${word#*=} ;;
    esac
done
for module in $(cat /modules/order); do
    insmod /modules/$module || say "ERROR module $module"
done

# The names of ports come a moment after their controller (virtio device 3).
if grep -qs 0x0003 /sys/bus/virtio/devices/*/device; then
    for attempt in $(seq 200); do
        grep -qs . /sys/class/virtio-ports/*/name && break
        usleep 50000
    done
fi
for port in /sys/class/virtio-ports/*; do
    [ -e $port/name ] || continue
    mkdir -p /dev/virtio-ports
    ln -s /dev/${port##*/} /dev/virtio-ports/$(cat $port/name)
done
if [ -e /dev/virtio-ports/org.qemu.guest_agent.0 ]; then
    qemu-ga -m virtio-serial -p /dev/virtio-ports/org.qemu.guest_agent.0 -t /run -l /run/agent.log &
    echo $! > /run/agent.pid
fi

disks=
for path in /sys/block/vd*; do
    [ -e $path ] || continue
    disk=${path##*/}
    [ "$(cat $path/ro)" = 0 ] || continue
    mkdir -p /mnt/$disk
    # The magic number of ext2, 3 and 4 lies at byte 1080. Only a disk without it is formatted.
    if [ "$(dd if=/dev/$disk bs=2 skip=540 count=1 2>/dev/null | od -An -tx1 | tr -d ' ')" != 53ef ]; then
        [ $mode = check ] && { say "CHECK BAD $disk has no file system"; continue; }
        mkfs.ext4 -q -F -E nodiscard /dev/$disk || say "ERROR mkfs $disk"
    fi
    mount -t ext4 -o noatime /dev/$disk /mnt/$disk || { say "CHECK BAD $disk can't be mounted"; continue; }
    mkdir -p /mnt/$disk/files
    disks="$disks $disk"
done
count=$(echo $disks | wc -w)

finish() {
    sync
    for disk in $disks; do umount /mnt/$disk; done
    poweroff -f
    sleep 60
}

cat > /run/settings.new <<END
pace=$pace keep=$keep seed=$seed bulk=$bulk expect=$expect disks="$disks" count=$count
END
mv /run/settings.new /run/settings
say "READY mode=$mode disks=$count uptime=$(cut -d ' ' -f 1 /proc/uptime)"
case $mode in
    check) guest-check; finish ;;
    writer) [ $count -gt 0 ] && guest-writer || say "ERROR no disk" ;;
esac
while true; do sleep 3600; done
