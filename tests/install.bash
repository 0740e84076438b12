# shellcheck shell=bash
# The programs that tests need beyond Rust, and their packages. tests/run reads this file; it has `has`, `has_module`, `is_root`
# and OUTPUT.

# The programs of the lab, each with its Debian package.
PROGRAMS=(
    "/usr/lib/frr/bgpd frr" "vtysh frr" "bird bird2" "gobgpd gobgpd" "/usr/sbin/bgpd openbgpd"
    "ip iproute2" "ss iproute2" "ethtool ethtool" "nft nftables" "tcpdump tcpdump" "ps procps"
    "nsenter util-linux" "chrt util-linux" "prlimit util-linux" "setpriv util-linux"
    "strace strace" "curl curl" "busybox busybox" "cc gcc"
    # The other side of VRRP.
    "keepalived keepalived"
    # The other programs of the bench command.
    "haproxy haproxy" "exabgp exabgp"
    # The Debian package.
    "dpkg-shlibdeps dpkg-dev" "strip binutils" "lintian lintian"
    # Readers of the man pages and the completions.
    "man man-db" "zsh zsh" "fish fish"
    # The metrics and their alerts.
    "promtool prometheus"
    # The servers for tests of checks.
    "nginx nginx-light" "redis-server redis-server" "openssl openssl" "etcd etcd-server"
    "socat socat" "knotd knot" "unbound unbound" "mariadbd mariadb-server" "chronyd chrony"
    "pg_basebackup postgresql"
    "/lib/systemd/systemd systemd" "dbus-daemon dbus-daemon" "dbus-send dbus-bin"
    # The compose rack on a container engine of the test's own, with base images from a mirror of Debian.
    "dockerd docker.io" "docker-compose docker-compose" "mmdebstrap mmdebstrap"
    # Virtual machines.
    "qemu-system-x86_64 qemu-system-x86" "mke2fs e2fsprogs"
    # The status page. Only Debian has Chromium as a package.
    "chromium chromium" "chromedriver chromium-driver"
    # The linter of the Ansible role and the DaemonSet.
    "yamllint yamllint"
    # The playbook of the guide.
    "ansible-playbook ansible-core"
)

# The needed modules of Debian's Python, each with its package.
MODULES=("jsonschema python3-jsonschema" "ruamel.yaml python3-ruamel.yaml")

prepare() {
    local missing=() entry program package
    for entry in "${PROGRAMS[@]}"; do
        read -r program package <<<"$entry"
        has "$program" || [[ " ${missing[*]} " == *" $package "* ]] || missing+=("$package")
    done
    for entry in "${MODULES[@]}"; do
        read -r program package <<<"$entry"
        has_module "$program" || missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    if ! is_root || ! has apt-get; then
        echo "Not installed, but needed by some tests: ${missing[*]}"
        echo "hint: as root on Debian or Ubuntu, tests/run installs them"
        return 0
    fi
    echo "Installing ${missing[*]}"
    install_packages "${missing[@]}" || echo "warning: some packages could not be installed; tests that need them are skipped" >&2
}

# The services of the packages are neither started nor enabled: the lab starts its own routers, and this machine is no
# router.
install_packages() {
    local policy=/usr/sbin/policy-rc.d ours=no status=0 package unit
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        ours=yes
    fi
    export DEBIAN_FRONTEND=noninteractive
    {
        apt-get update --quiet --quiet || true
        # One by one if a name is unknown, so that it does not block the others.
        if ! apt-get install --yes --quiet --no-install-recommends "$@"; then
            for package in "$@"; do
                apt-get install --yes --quiet --no-install-recommends "$package" || status=1
            done
        fi
    } >"$OUTPUT/apt.log" 2>&1
    [[ $ours == no ]] || rm -f "$policy"
    [[ $status -eq 0 ]] || tail -n 20 "$OUTPUT/apt.log" >&2
    if [[ -d /run/systemd/system ]]; then
        for package in "$@"; do
            case $package in
                frr) unit=frr ;;
                bird2) unit=bird ;;
                gobgpd) unit=gobgpd ;;
                nginx-light) unit=nginx ;;
                etcd-server) unit=etcd ;;
                mariadb-server) unit=mariadb ;;
                docker.io)
                    systemctl disable --now docker.socket containerd >>"$OUTPUT/apt.log" 2>&1 || true
                    unit=docker
                    ;;
                openbgpd | keepalived | redis-server | knot | unbound | chrony | postgresql | haproxy | exabgp | prometheus) unit=$package ;;
                *) continue ;;
            esac
            systemctl disable --now "$unit" >>"$OUTPUT/apt.log" 2>&1 || true
        done
    fi
    return "$status"
}
