#!/usr/bin/env python3
"""The status page in headless Chromium: `page.py VIPCAST AXE PLACE`, in a network namespace of its own.

AXE is axe.min.js of axe-core, PLACE a directory for screenshots, which stay there after a failure or with VIPCAST_SCREENSHOTS. Chromium is driven
by chromedriver. A VIP goes down and up live; names and reasons with markup are text; axe finds no serious fault in light, in dark and on
a phone; the page asks nobody but its own daemon, and complains of nothing.
"""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

PORT, DRIVER = 8179, 8178
URL = f"http://127.0.0.1:{PORT}/"
CONFIG = f"""
local_as: 65001
router_id: 10.0.0.2
state_dir: {{place}}/state
control: {{{{socket: {{place}}/control.sock}}}}
api: {{{{listen: "127.0.0.1:{PORT}"}}}}
peers:
  "<b>tor": {{{{address: 192.0.2.1, peer_as: 65000, bfd: {{{{}}}}}}}}
services:
  web: {{{{vips: [198.51.100.1, "2001:db8::1"], checks: [web]}}}}
  "<i>dns": {{{{vips: [198.51.100.2], checks: []}}}}
checks: {{{{web: {{{{file: {{place}}/healthy, interval: 100ms, fast_interval: 100ms, timeout: 100ms, rise: 1}}}}}}}}
shutdown: {{{{drain_time: 0s, unbind_delay: 0s}}}}
"""
MARKUP = "<img src=x onerror=alert(1)>"
SETTLES = 30.0
# Width, height, and the colours that the user prefers.
LOOKS = {"light": (1280, 900, "light"), "dark": (1280, 900, "dark"), "phone": (390, 844, "light"), "phone-dark": (390, 844, "dark")}
STATE_OF = """
const row = [...document.querySelectorAll("#vips tbody tr")].find((row) => row.textContent.includes(arguments[0]));
return row ? row.children[2].textContent : "no row";
"""


class Browser:
    """Chromium, by the WebDriver protocol."""

    def __init__(self, place):
        self.log = open(place / "chromedriver.log", "w+")
        self.driver = subprocess.Popen(["chromedriver", f"--port={DRIVER}"], stdout=self.log, stderr=self.log)
        self.session = ""
        options = {
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", f"--user-data-dir={place}/profile",
            ]
        }
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        wait("chromedriver", lambda: self.ask("GET", "/status")["ready"])
        self.session = "/session/" + self.ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        self.ask("POST", "/timeouts", {"script": 30000})

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{DRIVER}{self.session}{path}", data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            sys.exit(f"{method} {path}: {json.load(error)['value']['message'][:2000]}")

    def run(self, script, *arguments):
        return self.ask("POST", "/execute/sync", {"script": script, "args": arguments})

    def run_async(self, script):
        return self.ask("POST", "/execute/async", {"script": script, "args": []})

    def devtools(self, command, **parameters):
        return self.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def entries(self, kind):
        return self.ask("POST", "/se/log", {"type": kind})

    def picture(self, path):
        size = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 4000), "scale": 1}
        picture = self.devtools("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(picture))

    def close(self):
        if self.session:
            self.ask("DELETE", "")
        self.driver.terminate()
        self.driver.wait()


def wait(what, is_there):
    end, seen = time.monotonic() + SETTLES, None
    while time.monotonic() < end:
        try:
            seen = is_there()
            if seen is True:
                return
        except OSError as error:
            seen = error
        time.sleep(0.05)
    sys.exit(f"not seen: {what}; at last: {seen}")


def start(program, place, log):
    daemon = subprocess.Popen([program, "run", place / "vipcast.yaml"], stdout=log, stderr=log)
    wait("the page", lambda: daemon.poll() is not None or urllib.request.urlopen(URL).status == 200)
    if daemon.poll() is not None:
        sys.exit("the daemon does not run:\n" + pathlib.Path(log.name).read_text()[-2000:])
    return daemon


def is_said(browser, vip, wanted):
    def look():
        state = browser.run(STATE_OF, vip)
        return True if state == wanted else state

    wait(f"{vip} {wanted}", look)


def lives(browser, program, place):
    """A VIP goes down and up on the page that is open; a reason is text."""
    browser.run("window.untouched = true")
    is_said(browser, "198.51.100.1", "ready")
    began = time.monotonic()
    (place / "healthy").unlink()
    is_said(browser, "198.51.100.1", "withheld")
    print(f"a VIP that goes down is on the page after {time.monotonic() - began:.2f} s")
    first = browser.run('return document.querySelector("#vips tbody tr").textContent')
    if "withheld" not in first:
        sys.exit(f"trouble is not first: {first}")
    subprocess.run([program, "force-down", "<i>dns", "--reason", MARKUP, "--socket", place / "control.sock"], check=True, stdout=subprocess.DEVNULL)
    wait("the reason among the events", lambda: browser.run('return document.querySelector("#events").textContent.includes(arguments[0])', MARKUP))
    (place / "healthy").touch()
    is_said(browser, "198.51.100.1", "ready")
    for selector, text in [("#peers", "<b>tor"), ("#vips", "<i>dns")]:
        if text not in browser.run("return document.querySelector(arguments[0]).textContent", selector):
            sys.exit(f"{text} is not in {selector}")
    if browser.run('return document.querySelectorAll("main b:not(#sums b), main i, main img").length'):
        sys.exit("markup of a name or a reason is markup on the page")
    browser.run('const box = document.querySelector("#filter"); box.value = "dns"; box.dispatchEvent(new Event("input"))')
    wait("only the filtered rows", lambda: browser.run('return document.querySelectorAll("#vips tbody tr").length === 1'))
    browser.run('const box = document.querySelector("#filter"); box.value = ""; box.dispatchEvent(new Event("input"))')
    if browser.run("return window.untouched") is not True:
        sys.exit("the page was loaded anew")


def looks(browser, axe, shots):
    """Whether each look has no serious fault, and fits."""
    faults = []
    browser.run(axe.read_text())
    for name, (width, height, colours) in LOOKS.items():
        browser.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        browser.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": colours}])
        wait(f"the width of {name}", lambda: browser.run("return window.innerWidth") == width or browser.run("return window.innerWidth"))
        browser.picture(shots / f"{name}.png")
        result = browser.run_async("const done = arguments[0]; axe.run(document).then(done, (error) => done({error: String(error)}))")
        if "error" in result:
            sys.exit(f"axe: {result['error']}")
        for fault in result["violations"]:
            where = "; ".join(node["html"][:120] for node in fault["nodes"][:3])
            line = f"{name}: {fault['impact']}: {fault['id']}: {fault['help']}: {where}"
            print(line)
            if fault["impact"] in ("serious", "critical"):
                faults.append(line)
        wide = browser.run("return document.documentElement.scrollWidth")
        if wide > width:
            faults.append(f"{name}: the page is {wide} px wide")
        print(f"{name}: axe-core passes {len(result['passes'])} rules, {len(result['violations'])} violations")
    if faults:
        sys.exit("\n".join(faults))


def is_quiet(browser):
    """Whether the page has complained, and has asked only its daemon."""
    complaints = [entry["message"] for entry in browser.entries("browser") if entry["level"] in ("SEVERE", "WARNING")]
    asked = set()
    for entry in browser.entries("performance"):
        message = json.loads(entry["message"])["message"]
        # Chromium's first tab is a page of its own.
        if message["method"] == "Network.requestWillBeSent" and message["params"]["documentURL"].startswith(URL):
            asked.add(message["params"]["request"]["url"])
    elsewhere = [url for url in asked if not url.startswith((URL, "data:"))]
    if complaints or elsewhere:
        sys.exit(f"complaints: {complaints}; requests to others: {elsewhere}")
    if not any(url.endswith("/v1/events/stream") for url in asked):
        sys.exit(f"requests are not seen: {asked}")
    print(f"{len(asked)} addresses asked, all of the daemon; no complaint")


def main(program, axe, shots):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    shots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        place = pathlib.Path(place)
        (place / "vipcast.yaml").write_text(CONFIG.format(place=place))
        (place / "healthy").touch()
        log = open(place / "log", "w+")
        daemon, browser = start(program, place, log), None
        try:
            browser = Browser(place)
            browser.ask("POST", "/url", {"url": URL})
            wait("the page to be live", lambda: browser.run('return document.querySelector("#link").textContent') == "live")
            lives(browser, program, place)
            looks(browser, axe, shots)
            is_quiet(browser)
            # Now it may complain: the daemon is gone.
            daemon.kill()
            daemon.wait()
            gone = "no connection, trying again"
            wait(gone, lambda: browser.run('return document.querySelector("#link").textContent') == gone)
            daemon = start(program, place, log)
            wait("the page to be live again", lambda: browser.run('return document.querySelector("#link").textContent') == "live")
        except SystemExit:
            if browser is not None and browser.session:
                browser.picture(shots / "failed.png")
                print(f"screenshots are in {shots}")
            raise
        finally:
            if browser is not None:
                browser.close()
            daemon.kill()
            daemon.wait()
    if "VIPCAST_SCREENSHOTS" not in os.environ:
        for shot in shots.glob("*.png"):
            shot.unlink()


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
