"""Servers of nginx's other sites that get requests in place of ours, by its configuration on disk.

    python3 -c THIS OUR_LINK OUR_FILE NAMES PORTS NAMELESS [ETC_NGINX]

Prints a line for each, with its file and the remedy. nginx chooses by the address that a request comes to, then by the
name that it asks for, among equals the first. NAMES and PORTS are separated by blanks, the port of clients is the first
one; NAMELESS is where clients name nothing before they get a certificate ('*' or '[::]'), or nothing.
"""

import ipaddress
import re
import socket
import sys

from nginx_configuration import read

OURS, NAMES, PORTS, NAMELESS = sys.argv[1:3], sys.argv[3].split(), sys.argv[4].split(), sys.argv[5]
ROOT = sys.argv[6] if len(sys.argv) > 6 else "/etc/nginx"
ANY = {"0.0.0.0": "*", "::": "[::]"}


def servers():
    """Each server in nginx's order: (its file, its protocol, [(host, port, options), ...], {name, ...})."""
    found = {}
    for each in read(ROOT):
        if each.words == ["server"] and each.stands_in("http", "stream"):
            found[each] = (each.file, each.blocks[-1].words[0], [], set())
        elif each.stands_in("server") and each.blocks[-1] in found:
            _, _, listens, names = found[each.blocks[-1]]
            if each.words[0] == "listen":
                listens.append(each.words[1:])
            elif each.words[0] == "server_name":
                names.update(name.lower().removeprefix(".") for name in each.words[1:])
    for file, protocol, listens, names in found.values():
        yield file, protocol, [split(*words) for words in listens or [["80"]] if speaks_tcp(*words)], names


def speaks_tcp(address, *options):
    return not address.startswith("unix:") and not {"udp", "quic"} & {*options}


def split(address, *options):
    with_port = re.fullmatch(r"(?:(.*):)?(\d+)", address)
    host, port = (with_port[1] or "*", with_port[2]) if with_port else (address, "80")
    try:
        host = ANY.get(str(ipaddress.ip_address(host.strip("[]"))), host)
    except ValueError:
        pass  # a name
    return host, port, options


def addresses(name):
    """The addresses that a name leads to; nothing when nobody knows it."""
    try:
        return {info[4][0] for info in socket.getaddrinfo(name.strip("[]"), None)}
    except OSError:
        return set()


def is_loopback(host):
    known = addresses(host)
    return bool(known) and all(ipaddress.ip_address(each).is_loopback for each in known)


def of_clients():
    """The addresses that requests to NAMES come to, with those of this host that another one forwards them to."""
    for name in NAMES:
        for address in addresses(name):
            yield address
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as probe:  # sends nothing
                try:
                    probe.connect((address, 9))
                    yield probe.getsockname()[0]
                except OSError:
                    pass  # no way there


def setting(port):
    return "proxy.port" if port == PORTS[0] else "proxy.httpPort"


def on_an_address(file, host, port):
    if is_loopback(host):
        if port == PORTS[0]:
            yield f"{file} listens on {host}:{port}, so it gets what this host itself asks our site: give it another port there"
    elif addresses(host) & {*of_clients()}:
        yield f"{file} listens on {host}:{port}, so it gets every request to that address: give it another port there, or set {setting(port)}"


def on_all(host, port, those):
    """Of those that share a port, what stands before ours."""
    ours = next((at for at, (file, _, _) in enumerate(those) if file in OURS), None)
    if ours is None:
        return
    wanted = {f"[{name}]" if ":" in name else name.lower() for name in NAMES}
    for file, names, _ in those[:ours]:
        for name in sorted(names & wanted):
            yield f"{file} has a server for {name} on port {port} too, and nginx takes the first: take the name out there, or set domain or {setting(port)}"
    if port == PORTS[0] and host == NAMELESS:
        default = next((one for one in those if {"default", "default_server"} & {*one[2]}), those[0])
        if default[0] not in OURS:
            yield f"{default[0]} has the default server of port {port}, so clients that connect by address get its certificate: set domain or proxy.port"


def main():
    on_every_address = {}
    for file, protocol, listens, names in servers():
        for host, port, options in listens:
            if port not in PORTS:
                continue
            if host not in ANY.values():
                yield from on_an_address(file, host, port)
            elif protocol == "http":
                on_every_address.setdefault((host, port), []).append((file, names, options))
    for (host, port), those in on_every_address.items():
        yield from on_all(host, port, those)


try:
    for line in dict.fromkeys(main()):
        print(line)
except OSError as error:
    sys.exit(f"nginx's configuration cannot be read: {error}")
