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
mode=idle pace=0 keep=200 seed=1 expect=0
for word in $(cat /proc/cmdline); do
    case $word in
        tidemark.mode=*) mode=${word#*=} ;;
        tidemark.pace=*) pace=${word#*=} ;;
        tidemark.keep=*) keep=${word#*=} ;;
        tidemark.seed=*) seed=${word#*=} ;;
        tidemark.expect=*) expect=${word#*=} ;;
    esac
done
for module in $(cat /modules/order); do
    insmod /modules/$module || say "ERROR module $module"
done

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

# Each file is named NUMBER-SHA256 once it is durable; a file under any other name may be half-written.
check() {
    total=0
    for disk in $disks; do
        cd /mnt/$disk/files
        : > /run/sums
        for name in *-*; do
            [ -e "$name" ] && echo "${name#*-}  $name" >> /run/sums
        done
        total=$((total + $(wc -l < /run/sums)))
        sha256sum -c /run/sums 2>&1 | grep -v ': OK$' > /run/bad
        [ -s /run/bad ] && { say "CHECK BAD $disk $(head -n 3 /run/bad | tr '\n' ' ')"; bad=1; }
        cd /
    done
    [ $total -lt $expect ] && { say "CHECK BAD files=$total expected=$expect"; bad=1; }
    [ -z "$bad" ] && [ $count -gt 0 ] && say "CHECK OK files=$total"
    finish
}

# fill FILE KIBIBYTES KIND: durable content, random or (half the time) such as programs are.
fill() {
    if [ $3 = 0 ]; then
        dd if=/bin/busybox of=$1 bs=1k skip=$((RANDOM % 900)) count=$2 conv=notrunc,fsync 2>/dev/null
    else
        dd if=/dev/urandom of=$1 bs=1k count=$2 conv=notrunc,fsync 2>/dev/null
    fi
}

# publish NUMBER FOLDER TEMPORARY: gives the file its final name and, when that is durable, says so.
publish() {
    sum=$(sha256sum $3)
    sum=${sum%% *}
    mv $3 $2/$1-$sum
    sync $2
    say "ACK $1 $sum $2"
}

# retract FILE: from here on nobody may rely on the file. The pause lets the line leave the machine before the file does.
retract() {
    gone=${1##*/}
    say "GONE ${gone%%-*}"
    usleep 50000
}

write() {
    RANDOM=$seed
    number=0
    for name in /mnt/*/files/*-*; do
        name=${name##*/}
        old=${name%%-*}
        [ "$old" -gt $number ] 2>/dev/null && number=$old
    done
    set -- $disks
    while true; do
        number=$((number + 1))
        eval "folder=/mnt/\${$((number % count + 1))}/files"
        size=$((RANDOM % 48 + 1))
        [ $((number % 8)) = 0 ] && size=$((RANDOM % 700 + 1))
        fill $folder/new $size $((RANDOM % 2))
        publish $number $folder $folder/new
        for name in /mnt/*/files/$((number - keep))-*; do
            [ -e $name ] && retract $name && rm $name
        done
        if [ $((number % 5)) = 0 ]; then
            for name in /mnt/*/files/$((number - RANDOM % keep))-*; do
                [ -e $name ] || continue
                retract $name
                folder=${name%/*}
                old=${name##*/}
                old=${old%%-*}
                if [ $((RANDOM % 2)) = 0 ]; then
                    rm $name
                else
                    mv $name $folder/changing
                    fill $folder/changing $((RANDOM % 16 + 1)) 1
                    publish $old $folder $folder/changing
                fi
            done
        fi
        if [ $((number % 40)) = 0 ]; then
            for disk in $disks; do fstrim /mnt/$disk; done
        fi
        [ $pace = 0 ] || usleep ${pace}000
    done
}

say "READY mode=$mode disks=$count uptime=$(cut -d ' ' -f 1 /proc/uptime)"
case $mode in
    check) check ;;
    writer) [ $count -gt 0 ] && write || say "ERROR no disk" ;;
esac
while true; do sleep 3600; done
