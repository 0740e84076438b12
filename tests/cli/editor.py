#!/usr/bin/env python3
"""What an editor makes of the schema: completes and explains keys, and marks what is wrong.

Drives yaml-language-server over stdio as an editor does. It comes from the npm registry, so this is run by hand:

    npm install --prefix /tmp/yaml-language-server yaml-language-server
    tests/cli/editor.py /tmp/yaml-language-server/node_modules/.bin/yaml-language-server
"""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "packaging/vipcast.schema.json"
URI = (ROOT / "examples/in-an-editor.yaml").as_uri()
TEXT = f"""# yaml-language-server: $schema={SCHEMA.as_uri()}
local_as: 65001
peers:
  tor:
    address: 192.0.2.1
    peer_as: 65000
    hold_
checks:
  web:
    http: {{url: "http://127.0.0.1/"}}
    re
services:
  web:
    vips: [198.51.100.10]
    checks: [web]
    on_down: 
    colour: red
"""


class Server:
    """The language server, and requests to it in turn."""

    def __init__(self, program):
        self.process = subprocess.Popen([program, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.last = 0
        self.diagnostics = None

    def send(self, message):
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def receive(self):
        length = 0
        while (line := self.process.stdout.readline().strip()):
            name, value = line.split(b":", 1)
            if name.lower() == b"content-length":
                length = int(value)
        return json.loads(self.process.stdout.read(length))

    def handle(self, message):
        if message.get("method") == "textDocument/publishDiagnostics":
            self.diagnostics = message["params"]["diagnostics"]
        elif message.get("method") == "workspace/configuration":
            # As many answers as questions: no setting of the editor's own.
            self.send({"id": message["id"], "result": [{} for _ in message["params"]["items"]]})
        elif "id" in message and "method" in message:
            self.send({"id": message["id"], "result": None})

    def ask(self, method, params):
        self.last += 1
        self.send({"id": self.last, "method": method, "params": params})
        while True:
            message = self.receive()
            if message.get("id") == self.last and "method" not in message:
                return message.get("result")
            self.handle(message)

    def tell(self, method, params):
        self.send({"method": method, "params": params})


def place(fragment, offset=0):
    """Line and column behind a fragment of the text."""
    before = TEXT[: TEXT.index(fragment) + len(fragment) + offset]
    return {"line": before.count("\n"), "character": len(before) - before.rfind("\n") - 1}


def completions(server, at):
    items = server.ask("textDocument/completion", {"textDocument": {"uri": URI}, "position": at})
    items = items["items"] if isinstance(items, dict) else items
    return {item["label"] for item in items or []}


def main():
    server = Server(sys.argv[1])
    server.ask("initialize", {"processId": None, "rootUri": None, "capabilities": {
        "workspace": {"configuration": True},
        "textDocument": {"hover": {}, "completion": {"completionItem": {"documentationFormat": ["markdown"]}}},
    }})
    server.tell("initialized", {})
    document = {"uri": URI, "languageId": "yaml", "version": 1, "text": TEXT}
    server.tell("textDocument/didOpen", {"textDocument": document})
    failed = False

    def expect(what, seen, wanted):
        nonlocal failed
        missing = [one for one in wanted if one not in seen]
        failed |= bool(missing)
        print(f"{'FAILED' if missing else 'ok':6} {what}: {', '.join(wanted)}" + (f" not in {seen}" if missing else ""))

    expect("keys of a peer", completions(server, place("    hold_")), ["hold_time", "bfd", "graceful_restart"])
    expect("keys of a check", completions(server, place("    re")), ["rise", "fall", "interval", "dns"])
    expect("words of `on_down`", completions(server, place("on_down: ")), ["withdraw", "demote"])
    hover = server.ask("textDocument/hover", {"textDocument": {"uri": URI}, "position": place("peer_as", -3)})
    shown = json.dumps(hover)
    expect("what `peer_as` is", shown, ["AS number", "external"])
    while server.diagnostics is None:
        server.handle(server.receive())
    messages = json.dumps([one["message"] for one in server.diagnostics])
    expect("what is wrong", messages, ["colour"])
    server.ask("shutdown", None)
    server.tell("exit", None)
    server.process.wait(10)
    sys.exit(failed)


main()
