"""nginx's configuration as it is on disk."""

import glob
import os
import re
from dataclasses import dataclass

WORD = re.compile(r"'((?:\\.|[^'\\])*)'|\"((?:\\.|[^\"\\])*)\"|((?:\\.|\$\{|[^\s;{\\])+)", re.S)
LUA = re.compile(r"--\[\[.*?\]\]|--[^\n]*|\[\[.*?\]\]|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|[{}]", re.S)


@dataclass(frozen=True, eq=False)
class Directive:
    words: list
    blocks: tuple  # those that it stands in, the outermost first
    file: str
    site: str  # the file that is switched on or off as a whole

    def stands_in(self, *kinds):
        return bool(self.blocks) and self.blocks[-1].words[0] in kinds


def statements(text):
    """Splits as nginx does: lists of words, each with what ends it: ';', '{' of a block, or '}' without a word."""
    words, at = [], 0
    while at < len(text):
        char = text[at]
        if char.isspace():
            at += 1
        elif char == "#":
            at = (text + "\n").index("\n", at)
        elif char == ";" and words:
            yield words, char
            words, at = [], at + 1
        elif char == "{" and words:
            yield words, char
            at = end_of_lua(text, at + 1) if words[0].endswith("_by_lua_block") else at + 1
            words = []
        elif char == "}" and not words:
            yield [], char
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


def is_site(root, path):
    return os.path.dirname(path) in (f"{root}/sites-enabled", f"{root}/conf.d")


def read(root, path=None, blocks=(), site=None, without=()):
    """Yields the directives of a file (root/nginx.conf), with those of what it includes, but for the files in 'without'."""
    main = f"{root}/nginx.conf"
    path, site = path or main, site or main
    with open(path, encoding="utf-8", errors="backslashreplace") as file:
        text = file.read()
    outside = len(blocks)
    try:
        for words, end in statements(text):
            if end == "}":
                if len(blocks) == outside:
                    raise ValueError("unexpected }")
                blocks = blocks[:-1]
            elif end == "{":
                blocks = (*blocks, Directive(words, blocks, path, site))
                yield blocks[-1]
            elif words[0] == "include":
                pattern = os.path.join(root, words[1])
                for included in sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]:
                    if included not in without:
                        of = included if site == main and is_site(root, included) else site
                        yield from read(root, included, blocks, of, without)
            else:
                yield Directive(words, blocks, path, site)
    except ValueError as error:
        raise OSError(f"{path}: {error}") from None
