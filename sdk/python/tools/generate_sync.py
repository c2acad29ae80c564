"""Writes src/quotagate/_sync from src/quotagate/_async: the same text without async and await.

    ./test.sh generate                           # runs this and generate_models.py, with the tools in .venv
    python tools/generate_sync.py --check        # fails if the checked-in files differ

Only runtime.py, which waits and runs background work, is written by hand in both.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

SDK = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SDK))

from tools.generate_models import formatted  # noqa: E402

PACKAGE = SDK / "src" / "quotagate"
BY_HAND = {"runtime.py", "__init__.py"}

RULES = [
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait (?=\S)", ""),
    (r"\b__aenter__\b", "__enter__"),
    (r"\b__aexit__\b", "__exit__"),
    (r"\b__aiter__\b", "__iter__"),
    (r"\b__anext__\b", "__next__"),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\basynchronous\b", "synchronous"),
    (r"\ba(close|read|iter_lines|iter_bytes)\b", r"\1"),
    (r"\b_async\b", "_sync"),
]

HEAD = "# Generated from ../_async/{name} by tools/generate_sync.py; do not edit.\n"


def synchronous(name: str, text: str) -> str:
    for pattern, replacement in RULES:
        text = re.sub(pattern, replacement, text)
    return formatted(HEAD.format(name=name) + text)


def generate() -> dict[Path, str]:
    """The text of each file."""
    sources = sorted((PACKAGE / "_async").glob("*.py"))
    return {
        PACKAGE / "_sync" / source.name: synchronous(source.name, source.read_text())
        for source in sources
        if source.name not in BY_HAND
    }


def main() -> None:
    texts = generate()
    check = "--check" in sys.argv
    for path, text in texts.items():
        if check and (not path.exists() or path.read_text() != text):
            raise SystemExit(f"{path} differs from _async: run ./test.sh generate")
        if not check:
            path.write_text(text)
    known = {path.name for path in texts} | BY_HAND
    unknown = [path for path in (PACKAGE / "_sync").glob("*.py") if path.name not in known]
    if unknown and check:
        raise SystemExit(f"{unknown[0]} has no source in _async")


if __name__ == "__main__":
    main()
