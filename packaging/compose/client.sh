#!/bin/sh
# Starts the client: an address of its own, and the VIPs through both routers.
#
# It asks from that address and not from the container's: a packet through the rack then carries no address that the
# container engine knows, and the engine's packet filter leaves it alone.
set -eu
ip address replace 203.0.113.9/32 dev lo
ip route replace 198.51.100.0/24 src 203.0.113.9 nexthop via 10.213.9.2 nexthop via 10.213.9.3
exec sleep infinity
