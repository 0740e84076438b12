#!/usr/bin/env python3
"""`vipcast top` on a pseudo-terminal: `top.py VIPCAST`.

The daemon runs in a network namespace of its own. Top sees a VIP go down, a daemon that goes and comes back, and another size of the
terminal; it follows keys, and leaves the terminal as it was: after `q`, SIGTERM and Ctrl-C.
"""

import contextlib
import fcntl
import os
import pathlib
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

CONFIG = """
local_as: 65001
router_id: 10.0.0.2
state_dir: {place}/state
control: {{socket: {place}/control.sock}}
peers: {{tor: {{address: 192.0.2.1, peer_as: 65000}}}}
services:
  web: {{vips: [198.51.100.1], checks: [web]}}
  dns: {{vips: [198.51.100.2], checks: []}}
checks: {{web: {{file: {place}/healthy, interval: 100ms, fast_interval: 100ms, timeout: 100ms, rise: 1}}}}
shutdown: {{drain_time: 0s, unbind_delay: 0s}}
"""
SETTLES = 30.0
SEQUENCE = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])|\x1b[=>()][0B]?")


class Terminal:
    """A terminal of some size with a program on it; what the program has written is on `screen`."""

    def __init__(self, command, columns, lines, **environment):
        self.ours, theirs = os.openpty()
        self.size, self.raw = (columns, lines), ""
        self.resize(columns, lines)
        self.before = termios.tcgetattr(theirs)
        environment = {"TERM": "xterm-256color", "PATH": os.environ["PATH"], **environment}

        def take():
            os.setsid()
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

        self.theirs = theirs
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, preexec_fn=take)

    def resize(self, columns, lines):
        self.size = (columns, lines)
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self, wait):
        if select.select([self.ours], [], [], wait)[0]:
            with contextlib.suppress(OSError):
                self.raw += os.read(self.ours, 65536).decode(errors="replace")

    def screen(self):
        """The lines of the screen, by the few sequences that top uses."""
        columns, lines = self.size
        cells = [[" "] * columns for _ in range(lines)]
        row = column = at = 0
        wraps = False  # After the last column the cursor stays there until the next character, as that of xterm.
        while at < len(self.raw):
            if found := SEQUENCE.match(self.raw, at):
                at = found.end()
                wraps = wraps and found[3] != "H"
                numbers = [int(number or 1) for number in (found[2] or "").split(";")] if found[2] is not None else []
                if found[3] == "H":
                    row, column = numbers[0] - 1, (numbers[1:] or [1])[0] - 1
                elif found[3] == "J":
                    cells = [[" "] * columns for _ in range(lines)]
                elif found[3] == "K" and row < lines:
                    cells[row][column:] = [" "] * (columns - column)
                continue
            if self.raw[at] == "\x1b":
                break  # The rest of it has not come yet.
            if wraps:
                row, column = row + 1, 0
            if row < lines:
                cells[row][column] = self.raw[at]
            wraps = column == columns - 1
            column = min(column + 1, columns - 1)
            at += 1
        return ["".join(line).rstrip() for line in cells]

    def wait(self, what, is_there):
        end = time.monotonic() + SETTLES
        while time.monotonic() < end:
            if is_there(self.screen()):
                return
            if self.process.poll() is not None:
                break
            self.read(0.2)
        sys.exit(f"not seen: {what}\n" + "\n".join(self.screen()))

    def sees(self, pattern):
        self.wait(pattern, lambda lines: any(re.search(pattern, line) for line in lines))

    def press(self, keys):
        os.write(self.ours, keys.encode())

    def ends(self, how):
        """The program ends, and the terminal is as before."""
        end = time.monotonic() + SETTLES
        while self.process.poll() is None and time.monotonic() < end:
            self.read(0.05)
        self.read(0.2)
        if self.process.poll() != 0:
            sys.exit(f"{how}: exit code {self.process.poll()}\n{self.raw[-500:]}")
        after = termios.tcgetattr(self.theirs)
        if after != self.before:
            sys.exit(f"{how}: the terminal is not as before: {after} and not {self.before}")
        for entered, left in [("\x1b[?1049h", "\x1b[?1049l"), ("\x1b[?25l", "\x1b[?25h")]:
            if not 0 <= self.raw.rfind(entered) < self.raw.rfind(left):
                sys.exit(f"{how}: {left!r} is missing at the end")
        os.close(self.ours)
        os.close(self.theirs)


def start(program, place, log):
    command = ["unshare", "-rn", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", program, "run", place / "vipcast.yaml"]
    daemon = subprocess.Popen(command, stdout=log, stderr=log)
    end = time.monotonic() + SETTLES
    while not (place / "control.sock").exists():
        if daemon.poll() is not None or time.monotonic() > end:
            sys.exit("the daemon does not run:\n" + pathlib.Path(log.name).read_text()[-2000:])
        time.sleep(0.02)
    return daemon


def main(program):
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        (place / "vipcast.yaml").write_text(CONFIG.format(place=place))
        (place / "healthy").touch()
        log = open(place / "log", "w+")
        daemon = start(program, place, log)
        top = [program, "top", "--socket", place / "control.sock"]
        try:
            seen = Terminal(top, 80, 24)
            seen.sees(r"^198.51.100.1 .*▲ ready")
            seen.sees(r"^▲? ?.*● 1/1 checks pass")
            (place / "healthy").unlink()
            seen.sees(r"^198.51.100.1 .*■ withheld.*check web")
            seen.wait("trouble first", lambda lines: lines[3].startswith("198.51.100.1") or lines[4].startswith("198.51.100.1"))
            seen.sees(r"^\d\d:\d\d:\d\d  ▲ VIP withdrawn")
            seen.press("/dns\r")
            seen.wait("only the filtered rows", lambda lines: not any(line.startswith("198.51.100.1 ") for line in lines))
            seen.press("\x1b")
            seen.sees(r"^198.51.100.1 ")
            seen.resize(120, 40)
            seen.wait("all 40 lines", lambda lines: lines[39].startswith("q quit") and lines[39].endswith("of 2"))
            daemon.kill()
            daemon.wait()
            seen.sees(r"no connection$")
            seen.sees(r"trying again$")
            daemon = start(program, place, log)
            seen.sees(r"live$")
            seen.press("?")
            seen.sees(r"this help; any key closes it")
            seen.press(" q")
            seen.ends("q")
            if "\x1b[38;5;" not in seen.raw and "\x1b[3" not in seen.raw:
                sys.exit("no colour")

            plain = Terminal(top, 40, 12, NO_COLOR="1")
            plain.sees(r"^198.51.100.1 .*■ withheld")
            plain.process.send_signal(signal.SIGTERM)
            plain.ends("SIGTERM")
            if colour := re.search(r"\x1b\[(38|48|3\d|4\d|9\d)[;m]", plain.raw):
                sys.exit(f"colour in spite of NO_COLOR: {colour[0]!r}")

            interrupted = Terminal(top, 80, 24)
            interrupted.sees(r"live$")
            interrupted.press("\x03")
            interrupted.ends("Ctrl-C")

            nowhere = subprocess.run([*top[:2], "--socket", place / "none"], capture_output=True, text=True)
            if nowhere.returncode != 1 or not nowhere.stderr.startswith("error: cannot reach the daemon"):
                sys.exit(f"no daemon: {nowhere}")
        finally:
            daemon.kill()
            daemon.wait()
    print("top sees a VIP go down, follows keys and sizes, and leaves the terminal as it was")


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
