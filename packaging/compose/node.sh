#!/bin/sh
# Starts an edge node. Answers go back to the clients through both routers; the rest is vipcast's.
set -eu
here=$(dirname "$0")
ip route replace 203.0.113.0/24 nexthop via 10.213.1.2 nexthop via 10.213.2.2
exec vipcast run --config "$here/$(uname -n).yaml"
