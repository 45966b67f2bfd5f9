#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# Compares every file with its checksum and says so in one line. Each file is named NUMBER-SHA256 once it is durable;
# a file under any other name may be half-written.
export PATH=/bin
. /run/settings
say() { echo "$*"; }
total=0 bad=
for disk in $disks; do
    cd /mnt/$disk/files
    : > /run/sums
    for name in *-*; do
        [ -e "$name" ] && echo "${name#*-}  $name" >> /run/sums
    done
    total=$((total + $(wc -l < /run/sums)))
    sha256sum -c /run/sums 2>&1 | grep -v ': OK$' > /run/bad
    [ -s /run/bad ] && { say "CHECK BAD $disk $(head -n 3 /run/bad | tr '\n' ' ')"; bad=1; }
done
[ $total -lt $expect ] && { say "CHECK BAD files=$total expected=$expect"; bad=1; }
[ -z "$bad" ] && [ $count -gt 0 ] && say "CHECK OK files=$total"
