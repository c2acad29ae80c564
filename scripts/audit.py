#!/usr/bin/env python3
"""Looks for known advisories of every locked dependency: crates, npm packages and Python packages.

The names and versions of the lock files are sent to https://api.osv.dev, which collects the advisories of RustSec,
GitHub and PyPI.

    scripts/audit.py                                      or `make audit`
    AUDIT_URL=https://mirror.example scripts/audit.py     another server with the same API

Exit codes: 0 no advisory, 1 at least one advisory, 3 the database could not be reached: nothing is known.
"""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CLEAN, FINDINGS, NOT_CHECKED = 0, 1, 3
#: The database accepts at most 1,000 packages per request.
BATCH = 500
#: Seconds for one request.
TIMEOUT = 60
#: The largest answer that is read, in bytes.
LARGEST_ANSWER = 16 * 1024 * 1024


class Package(NamedTuple):
    """One locked dependency, in the names of the database."""

    ecosystem: str
    name: str
    version: str


class NotChecked(Exception):
    """The database gave no usable answer."""


def crates(lock: Path) -> set[Package]:
    found = re.findall(r'name = "([^"]+)"\nversion = "([^"]+)"\nsource = ', lock.read_text())
    return {Package("crates.io", name, version) for name, version in found}


def npm_packages(lock: Path) -> set[Package]:
    entries = json.loads(lock.read_text())["packages"]
    found = set()
    for path, entry in entries.items():
        if path and not entry.get("link"):
            # An alias is installed under another name than its own.
            name = entry.get("name") or path.rsplit("node_modules/", 1)[1]
            found.add(Package("npm", name, entry["version"]))
    return found


def python_packages(lock: Path) -> set[Package]:
    found = re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", lock.read_text(), re.MULTILINE)
    return {Package("PyPI", re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in found}


def locked() -> dict[str, set[Package]]:
    """The dependencies of each lock file of the repository."""
    files = {Path("Cargo.lock"): crates, Path("fuzz/Cargo.lock"): crates, Path("sdk/typescript/package-lock.json"): npm_packages}
    files |= {path.relative_to(ROOT): python_packages for path in sorted(ROOT.glob("sdk/python/*.lock"))}
    files |= {path.relative_to(ROOT): python_packages for path in sorted(ROOT.glob("tests/*/requirements.lock"))}
    found = {str(path): read(ROOT / path) for path, read in files.items() if (ROOT / path).exists()}
    for path, packages in found.items():
        # A format that this script no longer understands must not look clean.
        assert packages, f"{path}: no dependency was found in it"
    return found


def ask(url: str, packages: list[Package]) -> list[list[str]]:
    """The identifiers of the advisories of each package."""
    queries = [{"package": {"ecosystem": one.ecosystem, "name": one.name}, "version": one.version} for one in packages]
    body = json.dumps({"queries": queries}).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            text = answer.read(LARGEST_ANSWER + 1)
    except (OSError, ValueError) as fault:
        raise NotChecked(f"{url}: {fault}") from None
    try:
        if len(text) > LARGEST_ANSWER:
            raise ValueError("the answer is too large")
        results: list[Any] = json.loads(text)["results"]
        if len(results) != len(packages):
            raise ValueError(f"{len(results)} results for {len(packages)} packages")
        return [[str(advisory["id"]) for advisory in result.get("vulns") or []] for result in results]
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise NotChecked(f"{url}: the answer cannot be used: {fault}") from None


def main() -> int:
    files = locked()
    url = os.environ.get("AUDIT_URL", "https://api.osv.dev").rstrip("/") + "/v1/querybatch"
    packages = sorted(set().union(*files.values()))
    findings = 0
    try:
        for first in range(0, len(packages), BATCH):
            batch = packages[first : first + BATCH]
            for package, advisories in zip(batch, ask(url, batch)):
                places = ", ".join(path for path, inside in files.items() if package in inside)
                for advisory in advisories:
                    findings += 1
                    print(f"{package.name} {package.version} ({places}): https://osv.dev/vulnerability/{advisory}")
    except NotChecked as fault:
        print(f"NOT CHECKED: the advisory database could not be reached, so nothing is known about {len(packages)} dependencies.\n{fault}", file=sys.stderr)
        return NOT_CHECKED
    print(f"{len(packages)} dependencies of {', '.join(files)}: {findings or 'no'} known {'advisory' if findings == 1 else 'advisories'}")
    return FINDINGS if findings else CLEAN


if __name__ == "__main__":
    sys.exit(main())
