"""The sites of nginx that lead to a port of this host, by its configuration on disk.

    python3 -c THIS PORT OUR_SITE [ETC_NGINX]

Prints a line for each: its file, a tab, and what else it serves; nothing after the tab when it serves nothing else.
"""

import re
import sys

from nginx_configuration import is_site, read

PORT, OURS = int(sys.argv[1]), sys.argv[2]
ROOT = sys.argv[3] if len(sys.argv) > 3 else "/etc/nginx"
LOOPBACK = {"localhost", "127.0.0.1", "[::1]", "0.0.0.0"}
# Anywhere in a word, as in the value of a variable.
ADDRESS = re.compile(rf"(?<![\w.:\]])(localhost|127\.0\.0\.1|\[::1\]|0\.0\.0\.0):{PORT}(?!\d)", re.I)


def leads_there(target, upstreams):
    """Whether the target of a proxy_pass, or of an upstream's server, is the port and nothing else."""
    scheme, separator, rest = target.rpartition("://")
    authority = re.split(r"/|\$(?:request_)?uri\b", rest)[0].lower()
    if "$" in scheme + authority or scheme.lower() not in ("", "http", "https"):
        return False
    if separator and authority in upstreams:
        return upstreams[authority]
    host, port = re.fullmatch(r"(\[.*\]|[^:]*):?(.*)", authority, re.S).groups()
    return host in LOOPBACK and (port or ("443" if scheme.lower() == "https" else "80")) == str(PORT)


def survey(said, upstreams):
    """Whether what a site says leads to the port, and what else it serves."""
    found, in_upstream, by_variable, others, busy = False, False, False, [], set()
    for each in said:
        name, *arguments = each.words
        names_it = name not in ("listen", "server_name") and any(map(ADDRESS.search, arguments))
        if name == "proxy_pass" and leads_there(arguments[0], upstreams):
            found = True
            busy.update(each.blocks)
        elif name == "server" and each.stands_in("upstream"):
            in_upstream = in_upstream or names_it
        elif name.endswith("_pass") or "_by_lua" in name or names_it:
            found = found or names_it
            by_variable = by_variable or "$" in "".join(arguments)
            others.append(" ".join(each.words[:3]))
            busy.update(each.blocks)
        elif name == "upstream" and not upstreams[arguments[0].lower()]:
            others.append(f"upstream {arguments[0]}")
        elif name in ("root", "alias") and each.stands_in("location"):
            if not any("/.well-known/" in word for word in each.blocks[-1].words):
                others.append(f"{name} {arguments[0]}")
        elif name == "return" and each.stands_in("server"):
            busy.update(each.blocks)
    for each in said:
        if each.words == ["server"] and each.stands_in("http") and each not in busy:
            names = [inner.words[1:] for inner in said if inner.words[0] == "server_name" and inner.blocks[-1] is each]
            others.append(" ".join(["server", *(names[0] if names else ["without a name"])]))
    # The name of an upstream in a variable cannot be followed.
    return found or (in_upstream and by_variable), others


def main():
    web = [each for each in read(ROOT, without=[OURS]) if any(block.words == ["http"] for block in each.blocks)]
    upstreams = {}  # name to whether all of its servers are the port
    for each in web:
        if each.words[0] == "upstream":
            servers = [inner.words[1] for inner in web if inner.words[0] == "server" and each in inner.blocks]
            upstreams[each.words[1].lower()] = bool(servers) and all(leads_there(server, {}) for server in servers)
    for site in dict.fromkeys(each.site for each in web):
        found, others = survey([each for each in web if each.site == site], upstreams)
        if found:
            if not is_site(ROOT, site):
                others.insert(0, "nginx itself")
            print(site, ", ".join(dict.fromkeys(others)), sep="\t")


try:
    main()
except OSError as error:
    sys.exit(f"nginx's configuration cannot be read: {error}")
