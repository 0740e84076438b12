#!/bin/sh
# Starts the client: an address of its own, and the VIPs through both routers.
#
# The client uses that address and not the container's: the container engine does not know it, and so the engine's packet
# filter leaves its packets alone.
set -eu
ip address replace 203.0.113.9/32 dev lo
ip route replace 198.51.100.0/24 src 203.0.113.9 nexthop via 10.213.9.2 nexthop via 10.213.9.3
exec sleep infinity
