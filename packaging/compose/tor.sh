#!/bin/sh
# Starts a ToR: FRR with the configuration that is mounted, under its own supervisor.
set -eu
here=$(dirname "$0")
# FRR gives up root and must own its files; the mounted files belong to another user.
install -o frr -g frr -m 640 "$here/daemons" /etc/frr/daemons
install -o frr -g frr -m 640 "$here/$(uname -n).conf" /etc/frr/frr.conf
/usr/lib/frr/frrinit.sh start
exec sleep infinity
