#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# Writes, rewrites and deletes files without end, on all disks in turn. Every line tells a host what it may rely on.
export PATH=/bin
. /run/settings
say() { echo "$*"; }

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

RANDOM=$seed
number=0
for name in /mnt/*/files/*-*; do
    name=${name##*/}
    old=${name%%-*}
    [ "$old" -gt $number ] 2>/dev/null && number=$old
done
set -- $disks
# Some large files first, on an empty disk: random ones, and ones that compress.
while [ $number -lt $bulk ]; do
    number=$((number + 1))
    eval "folder=/mnt/\${$((number % count + 1))}/files"
    if [ $((number % 2)) = 0 ]; then
        for copy in 1 2 3 4 5 6 7 8; do cat /bin/busybox; done > $folder/new
    else
        dd if=/dev/urandom of=$folder/new bs=1M count=16 2>/dev/null
    fi
    sync $folder/new
    publish $number $folder $folder/new
done
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
