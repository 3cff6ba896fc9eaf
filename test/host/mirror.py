"""A mirror on 127.0.0.1:PORT that has something wrong with it, as a package client meets it. usage: mirror.py PORT FAULT [LOCK]

fails-once  a proxy that breaks off the first request and passes on all others (HTTP, and HTTPS by CONNECT)
truncated   an index of the packages in LOCK, whose files end early
other       an index of the packages in LOCK, whose files are whole but hold something else
"""

import http.server
import io
import os
import re
import socket
import sys
import threading
import urllib.request
import zipfile

PORT, FAULT, *LOCK = sys.argv[1:]
REFUSED = "/run/refused"


def wheel(name: str, version: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        info = f"{name}-{version}.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return content.getvalue()


class Proxy(http.server.BaseHTTPRequestHandler):
    """Passes requests on, but for the first one."""

    def refuses(self) -> bool:
        first = not os.path.exists(REFUSED)
        open(REFUSED, "a").close()
        self.close_connection = True
        return first

    def do_GET(self) -> None:
        if self.refuses():
            return
        with urllib.request.urlopen(self.path) as answer:
            body = answer.read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        if self.refuses():
            return
        host, port = self.path.rsplit(":", 1)
        with socket.create_connection((host, int(port))) as far:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=self.pump, args=(far, self.connection), daemon=True)
            back.start()
            self.pump(self.connection, far)
            back.join()

    @staticmethod
    def pump(source: socket.socket, target: socket.socket) -> None:
        while data := source.recv(2**16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


class Index(http.server.BaseHTTPRequestHandler):
    """A package index whose metadata are fine and whose files are not."""

    def do_GET(self) -> None:
        last = self.path.rstrip("/").split("/")[-1]
        name, version = last.split("-")[:2] if ".whl" in last else (last, "")
        if last.endswith(".metadata"):
            body = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
        elif last.endswith(".whl"):
            body = wheel(name, version)
            body = body[: len(body) // 2] if FAULT == "truncated" else body
        else:
            versions = re.findall(rf"(?m)^{re.escape(last)}==([^\s;]+)", open(LOCK[0]).read())
            files = [f"{last.replace('-', '_')}-{version}-py3-none-any.whl" for version in versions]
            body = "".join(f'<a href="/files/{file}" data-core-metadata="true">{file}</a>\n' for file in files).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET


http.server.ThreadingHTTPServer(("127.0.0.1", int(PORT)), Proxy if FAULT == "fails-once" else Index).serve_forever()
