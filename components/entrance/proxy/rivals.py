"""Servers of nginx's other sites that get requests in place of ours, by the configuration on stdin (nginx -T).

    python3 -c THIS OUR_LINK OUR_FILE NAMES PORTS NAMELESS

Prints a line for each, with its file and the remedy. nginx chooses by the address of a request, then by its name, among
equals the first. NAMES and PORTS are separated by blanks; NAMELESS is the port where clients name nothing before they get
a certificate, or nothing.
"""

import re
import sys

ours, (names, ports), nameless = sys.argv[1:3], map(str.split, sys.argv[3:5]), sys.argv[5]


def servers(text):
    """Each server with its file: (file, [listen, ...], {name, ...})."""
    for file, content in re.findall(r"^# configuration file (.*):\n((?:(?!# configuration file ).*\n?)*)", text, re.M):
        depth, begin, listens, called = 0, 0, [], set()
        for statement, end in re.findall(r"([^;{}]*)([;{}])", re.sub(r"(?m)(^|[;{}])\s*#.*", r"\1", content)):
            first, *others = statement.split() or [""]
            depth += {"{": 1, "}": -1, ";": 0}[end]
            if end == "{" and [first, *others] == ["server"]:
                begin, listens, called = depth, [], set()
            elif end == "}" and begin and depth < begin:
                yield file, listens or [["80"]], called
                begin = 0
            elif first == "listen":
                listens.append(others)
            elif first == "server_name":
                called.update(map(str.lower, others))


def rivals():
    defaults, first = [], []
    for file, listens, called in servers(sys.stdin.read()):
        for address, *options in listens:
            if address.startswith("unix:"):
                continue
            with_port = re.fullmatch(r"(?:(.*):)?(\d+)", address)
            host, port = (with_port[1] or "*", with_port[2]) if with_port else (address, "80")
            if port not in ports:
                continue
            if host not in ("*", "0.0.0.0", "[::]"):
                if file not in ours:
                    yield f"{file} has a server for {host} alone, which gets all requests that come to it on port {port}: take the address out there ('listen {port}'), or set proxy.port"
                continue
            if port == nameless:
                (defaults if {"default", "default_server"} & {*options} else first).append(file)
            for name in called.intersection(names) if file not in ours else ():
                yield f"{file} has a server for {name} on port {port} too, and nginx takes the first: take the name out there, or set domain or proxy.port"
    for file in [*defaults, *first][:1]:
        if file not in ours:
            yield f"{file} has the default server of port {nameless}, whose certificate clients get who come by an address: set domain or proxy.port"


for line in dict.fromkeys(rivals()):
    print(line)
