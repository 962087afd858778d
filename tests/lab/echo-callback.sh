#!/bin/sh
# What most people write: a callback that only echoes into the pipe, without a look at anything.
# The lab measures pgcast against it.
case "$1:$2" in
on_stop:* | before_stop:*) command="withdraw" ;;
*:primary | *:master) command="announce" ;;
*) command="withdraw" ;;
esac
echo "$command route 192.0.2.10/32 next-hop self" >/run/exabgp/exabgp.in
