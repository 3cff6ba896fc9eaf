"""The sites of nginx that lead to a port of this host, by its configuration on disk.

    python3 -c THIS PORT OUR_SITE [ETC_NGINX]

Prints a line for each: its file, a tab, and what else it serves; nothing after the tab when it serves nothing else.
"""

import glob
import os
import re
import sys
from dataclasses import dataclass

PORT, OURS = int(sys.argv[1]), sys.argv[2]
ROOT = sys.argv[3] if len(sys.argv) > 3 else "/etc/nginx"
MAIN = f"{ROOT}/nginx.conf"
LOOPBACK = {"localhost", "127.0.0.1", "[::1]", "0.0.0.0"}
# Anywhere in a word, as in the value of a variable.
ADDRESS = re.compile(rf"(?<![\w.:\]])(localhost|127\.0\.0\.1|\[::1\]|0\.0\.0\.0):{PORT}(?!\d)", re.I)

WORD = re.compile(r"'((?:\\.|[^'\\])*)'|\"((?:\\.|[^\"\\])*)\"|((?:\\.|\$\{|[^\s;{\\])+)", re.S)
LUA = re.compile(r"--\[\[.*?\]\]|--[^\n]*|\[\[.*?\]\]|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|[{}]", re.S)


@dataclass(frozen=True, eq=False)
class Directive:
    words: list
    blocks: tuple  # those that it stands in, the outermost first
    site: str  # the file that is switched on or off as a whole

    def stands_in(self, *kinds):
        return bool(self.blocks) and self.blocks[-1].words[0] in kinds


def statements(text):
    """Splits as nginx does: lists of words, with '{' at the end of one that opens a block, or '}' alone."""
    words, at = [], 0
    while at < len(text):
        char = text[at]
        if char.isspace():
            at += 1
        elif char == "#":
            at = (text + "\n").index("\n", at)
        elif char == ";" and words:
            yield words
            words, at = [], at + 1
        elif char == "{" and words:
            yield [*words, "{"]
            at = end_of_lua(text, at + 1) if words[0].endswith("_by_lua_block") else at + 1
            words = []
        elif char == "}" and not words:
            yield ["}"]
            at += 1
        else:
            word = None if char in ";{}" else WORD.match(text, at)
            if word is None:
                raise ValueError(f"unexpected {char}")
            words.append(next(group for group in word.groups() if group is not None))
            at = word.end()
    if words:
        raise ValueError(f"ends within {words[0]}")


def end_of_lua(text, at):
    depth = 1
    for part in LUA.finditer(text, at):
        depth += {"{": 1, "}": -1}.get(part.group(), 0)
        if depth == 0:
            return part.start()
    raise ValueError("ends within a block of Lua")


def is_site(path):
    return os.path.dirname(path) in (f"{ROOT}/sites-enabled", f"{ROOT}/conf.d")


def read(path, blocks=(), site=MAIN):
    """Yields the directives of a file, with those of what it includes."""
    with open(path, encoding="utf-8", errors="backslashreplace") as file:
        text = file.read()
    outside = len(blocks)
    try:
        for words in statements(text):
            if words == ["}"]:
                if len(blocks) == outside:
                    raise ValueError("unexpected }")
                blocks = blocks[:-1]
            elif words[-1] == "{":
                blocks = (*blocks, Directive(words[:-1], blocks, site))
                yield blocks[-1]
            elif words[0] == "include":
                pattern = os.path.join(ROOT, words[1])
                for included in sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]:
                    if included != OURS:
                        yield from read(included, blocks, included if site == MAIN and is_site(included) else site)
            else:
                yield Directive(words, blocks, site)
    except ValueError as error:
        raise OSError(f"{path}: {error}") from None


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
    web = [each for each in read(MAIN) if any(block.words == ["http"] for block in each.blocks)]
    upstreams = {}  # name to whether all of its servers are the port
    for each in web:
        if each.words[0] == "upstream":
            servers = [inner.words[1] for inner in web if inner.words[0] == "server" and each in inner.blocks]
            upstreams[each.words[1].lower()] = bool(servers) and all(leads_there(server, {}) for server in servers)
    for site in dict.fromkeys(each.site for each in web):
        found, others = survey([each for each in web if each.site == site], upstreams)
        if found:
            if not is_site(site):
                others.insert(0, "nginx itself")
            print(site, ", ".join(dict.fromkeys(others)), sep="\t")


try:
    main()
except OSError as error:
    sys.exit(f"nginx's configuration cannot be read: {error}")
