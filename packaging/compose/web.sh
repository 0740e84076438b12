#!/bin/sh
# The service: a web server that says which node it is on.
set -eu
www=$(mktemp -d)
echo "$NODE" > "$www/index.html"
echo ok > "$www/healthz"
exec busybox httpd -f -p 80 -h "$www"
