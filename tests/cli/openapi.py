#!/usr/bin/env python3
"""Tries a daemon with whatever its OpenAPI document allows and forbids: `openapi.py VIPCAST DOCUMENT REQUESTS`.

The daemon runs in a network namespace of its own. schemathesis (PyPI) speaks TCP alone, so a proxy carries each connection to the
control socket, and counts. It must find no 5xx and no answer that is not in the document, which is made strict here: what an answer
has beside the document is a mistake of the document.
"""

import itertools
import json
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

CONFIG = """
local_as: 65001
router_id: 10.0.0.2
state_dir: {place}/state
control: {{socket: {place}/control.sock}}
peers: {{tor: {{address: 192.0.2.1, peer_as: 65000, bfd: {{}}}}, link: {{interface: none0, peer_as: external}}}}
services:
  web: {{vips: [198.51.100.1, "2001:db8::1"], checks: [web], on_down: demote}}
  dns: {{vips: [198.51.100.0/28], checks: [], bind: route, preempt: false}}
checks: {{web: {{tcp: 9, host: 127.0.0.1}}}}
shutdown: {{drain_time: 100ms, unbind_delay: 0s}}
"""
SETTLES = 30.0


def strict(document):
    """The document, with nothing in an answer that it does not have."""
    inner = set()
    for schema in document["components"]["schemas"].values():
        inner.update(part["$ref"].rsplit("/", 1)[-1] for part in schema.get("allOf", []))
    for name, schema in document["components"]["schemas"].items():
        if schema.get("type") == "object" and name not in inner:
            schema.setdefault("unevaluatedProperties", False)
    return document


class Proxy:
    """Carries connections of TCP to a Unix socket, and counts requests."""

    def __init__(self, path):
        self.path, self.requests = path, 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            daemon = socket.socket(socket.AF_UNIX)
            daemon.connect(str(self.path))
            for ends in [(client, daemon), (daemon, client)]:
                threading.Thread(target=self.carry, args=(*ends, ends[0] is client), daemon=True).start()

    def carry(self, source, sink, is_asking):
        try:
            while data := source.recv(65536):
                self.requests += is_asking and b" HTTP/1.1\r\n" in data
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def wait_for(path, daemon):
    end = time.monotonic() + SETTLES
    while time.monotonic() < end:
        if daemon.poll() is not None:
            sys.exit(f"the daemon has ended: {daemon.returncode}")
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                return
        time.sleep(0.02)
    sys.exit("the daemon makes no control socket")


def tries(place, url, examples, seed):
    # The stream of events has no end.
    command = [
        pathlib.Path(sys.executable).with_name("schemathesis"), "run", place / "strict.json", "--url", url,
        "--max-examples", str(examples), "--seed", str(seed), "--checks", "all", "--continue-on-failure",
        "--exclude-path", "/v1/events/stream", "--request-timeout", "10", "--generation-database", "none", "--suppress-health-check", "all", "--no-color",
    ]
    return subprocess.run(command, cwd=place).returncode


def are_metrics_good(url):
    """Whether promtool has nothing to say against the metrics."""
    if not shutil.which("promtool"):
        print("promtool is missing: the metrics are not checked")
        return True
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        metrics = answer.read()
    checked = subprocess.run(["promtool", "check", "metrics"], input=metrics)
    print(f"{len(metrics.splitlines())} lines of metrics, promtool {'accepts' if checked.returncode == 0 else 'refuses'} them")
    return checked.returncode == 0


def main(program, document, wanted):
    # The daemon ends with this, also where it is given up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("given up"))
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        (place / "vipcast.yaml").write_text(CONFIG.format(place=place))
        (place / "strict.json").write_text(json.dumps(strict(json.loads(pathlib.Path(document).read_text()))))
        log = open(place / "log", "w+")
        # A restart would end connections on the way; without a program to follow it is refused.
        program = shutil.copy2(program, place / "vipcast")
        command = ["unshare", "-rn", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh", str(program), "run", place / "vipcast.yaml"]
        daemon = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for(place / "control.sock", daemon)
            program.unlink()
            proxy = Proxy(place / "control.sock")
            failed = False
            for seed in itertools.count(1):
                before = proxy.requests
                failed |= tries(place, proxy.url, max(50, wanted // 10), seed) != 0
                if failed or proxy.requests >= wanted:
                    break
                if proxy.requests == before:
                    sys.exit("schemathesis has asked nothing")
            failed |= not are_metrics_good(proxy.url)
            ended = daemon.poll()
        finally:
            daemon.kill()
            daemon.wait()
        text = (place / "log").read_text()
        if failed or ended is not None or "panicked" in text:
            print(text[-4000:])
            sys.exit(f"failed after {proxy.requests} requests; the daemon {'has ended' if ended is not None else 'runs'}")
        print(f"{proxy.requests} requests: no 5xx, and no answer outside the document")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
