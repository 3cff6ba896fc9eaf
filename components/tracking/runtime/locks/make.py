# /// script
# requires-python = ">=3.11"
# dependencies = ["packaging==26.2", "uv==0.13.9"]
# ///
"""Write a requirements lock that holds only what a supported host can install.

A universal lock of `uv pip compile --generate-hashes` lists a hash for every file of every release: Windows, macOS,
musl, PyPy, source archives. That is ten times as much as a host can ever use, and the lock travels inside a script.
This program resolves with uv for all supported Pythons at once, then keeps for each package just the wheels that an
installer would choose on one of the targets below, and makes the environment markers as short as the targets allow.

    uv run make.py 3.17.2.txt mlflow==3.17.2 psycopg2-binary
    uv run make.py uv.txt uv==0.13.9

It fails, and writes nothing, when a package has no wheel for a target on which it is needed.
"""

import argparse
import datetime
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

PYTHONS = (10, 11, 12, 13)
"""Minor versions of Python 3 that a lock serves, without a gap."""

MACHINES = ("x86_64", "aarch64")
"""Machine names as in `uname -m`: amd64 and arm64."""

GLIBCS = range(35, 44)
"""Minor versions of glibc 2, from Ubuntu 22.04 (2.35) upwards: an installer prefers the wheel built for the newest."""


class Target(NamedTuple):
    """One kind of host: a Python 3 minor version on a machine."""

    python: int
    machine: str

    def environments(self) -> Iterator[dict[str, str]]:
        """Marker values of the first and of a late patch release, since a marker may separate the two."""
        for patch in (0, 99):
            yield {
                "implementation_name": "cpython",
                "implementation_version": f"3.{self.python}.{patch}",
                "os_name": "posix",
                "platform_machine": self.machine,
                "platform_python_implementation": "CPython",
                "platform_release": "",
                "platform_system": "Linux",
                "platform_version": "",
                "python_full_version": f"3.{self.python}.{patch}",
                "python_version": f"3.{self.python}",
                "sys_platform": "linux",
            }

    def tags(self, glibc: int) -> Iterator[Tag]:
        """Wheel tags that fit, best first."""
        legacy = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
        platforms = []
        for minor in range(glibc, 4, -1):
            platforms.append(f"manylinux_2_{minor}_{self.machine}")
            if minor in legacy:
                platforms.append(f"{legacy[minor]}_{self.machine}")
        platforms.append(f"linux_{self.machine}")
        version = (3, self.python)
        yield from cpython_tags(version, platforms=platforms)
        yield from compatible_tags(version, interpreter=f"cp3{self.python}", platforms=platforms)


TARGETS = tuple(Target(python, machine) for python in PYTHONS for machine in MACHINES)


def resolve(requirements: list[str], newest: str) -> list[dict[str, Any]]:
    """Let uv choose versions for all Pythons from the oldest on; packages with their files, as in PEP 751."""
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder, "pylock.toml")
        command = f"uv pip compile --quiet --universal --python-version 3.{PYTHONS[0]} --only-binary :all: --no-header"
        subprocess.run(
            [*command.split(), "--exclude-newer", newest, "--format", "pylock.toml", "--output-file", str(lock), "-"],
            input="\n".join(requirements),
            text=True,
            check=True,
        )
        packages: list[dict[str, Any]] = tomllib.loads(lock.read_text())["packages"]
    return packages


def wheel_hashes(package: dict[str, Any], targets: list[Target]) -> list[str]:
    """Hashes of the wheels that an installer chooses on these targets, in the order of their file names."""
    wheels = {}
    for wheel in package.get("wheels", []):
        name = wheel.get("name") or wheel["url"].rsplit("/", 1)[-1]
        wheels[name] = (parse_wheel_filename(name), wheel["hashes"]["sha256"])
    chosen = set()
    for target in targets:
        for glibc in GLIBCS:
            rank = {tag: place for place, tag in reversed(list(enumerate(target.tags(glibc))))}
            fitting = []
            for name, ((_, _, build, tags), _) in wheels.items():
                places = [rank[tag] for tag in tags if tag in rank]
                if places:
                    fitting.append((min(places), tuple(-part for part in build[:1]), name))
            if not fitting:
                raise SystemExit(
                    f"{package['name']} {package['version']} has no wheel for "
                    f"Python 3.{target.python} on {target.machine}, glibc 2.{glibc}"
                )
            chosen.add(min(fitting)[2])
    return [wheels[name][1] for name in sorted(chosen)]


def entry(package: dict[str, Any]) -> str | None:
    """One requirement with marker and hashes, or nothing where no target needs the package."""
    marker = Marker(package["marker"]) if "marker" in package else None
    needed, exact = [], True
    for target in TARGETS:
        answers = {marker is None or marker.evaluate(values) for values in target.environments()}
        exact = exact and len(answers) == 1
        if True in answers:
            needed.append(target)
    if not needed:
        return None
    text = short_marker(needed) if exact else None
    if text is None:
        text = str(marker)
    lines = [f"{package['name']}=={package['version']}{f' ; {text}' if text else ''}"]
    lines += [f"    --hash=sha256:{value}" for value in wheel_hashes(package, needed)]
    return " \\\n".join(lines)


def short_marker(needed: list[Target]) -> str | None:
    """A marker in terms of the Python version alone; empty for 'everywhere', None where that cannot say it."""
    pythons = sorted({target.python for target in needed})
    first, last = pythons[0], pythons[-1]
    if len(needed) != len(pythons) * len(MACHINES) or pythons != list(range(first, last + 1)):
        return None
    bounds = []
    if first != PYTHONS[0]:
        bounds.append(f"python_version >= '3.{first}'")
    if last != PYTHONS[-1]:
        bounds.append(f"python_version < '3.{last + 1}'")
    return " and ".join(bounds)


def main() -> None:
    """Resolve, filter, write."""
    parser = argparse.ArgumentParser(description="Write a requirements lock with the hashes a supported host needs.")
    parser.add_argument("lock", type=Path, help="file to write")
    parser.add_argument("requirement", nargs="+", help="what to lock, for example mlflow==3.17.2")
    yesterday = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)).date().isoformat()
    parser.add_argument(
        "--exclude-newer",
        default=yesterday,
        metavar="DATE",
        help="ignore files uploaded after this day (default: yesterday)",
    )
    options = parser.parse_args()

    try:
        packages = resolve(options.requirement, options.exclude_newer)
    except subprocess.CalledProcessError as failure:
        sys.exit(failure.returncode)
    entries = [text for package in packages if (text := entry(package))]
    header = [
        f"# Made by: uv run make.py {options.lock.name} {' '.join(options.requirement)}"
        f" --exclude-newer {options.exclude_newer}",
        f"# For CPython 3.{PYTHONS[0]} to 3.{PYTHONS[-1]} on Linux with glibc 2.{GLIBCS[0]} or later,"
        f" {' and '.join(MACHINES)}. Wheels only.",
    ]
    options.lock.write_text("\n".join(header + entries) + "\n")
    print(f"{options.lock}: {len(entries)} requirements, {options.lock.stat().st_size} bytes")


if __name__ == "__main__":
    main()
