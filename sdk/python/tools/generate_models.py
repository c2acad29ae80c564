"""Writes src/quotagate/models.py and bodies.py from the gateway's openapi.json.

    ./test.sh generate                             # runs this and generate_sync.py, with the tools in .venv
    python tools/generate_models.py --check        # fails if the checked-in files differ

Models are answers of the gateway: dataclasses with Python names. Bodies are requests: typed dicts with the names of the
API. The same openapi.json always gives the same text.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SDK = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SDK))

from tools.schemas import Schemas, is_list_page, snake  # noqa: E402

OPENAPI = SDK.parent.parent / "docs" / "openapi.json"
PACKAGE = SDK / "src" / "quotagate"

HEAD = '''"""{title}

Generated from the gateway's openapi.json by tools/generate_models.py; do not edit.
"""

from __future__ import annotations

{imports}
'''


def doc(text: str | None, indent: str = "") -> str:
    if not text:
        return ""
    words = " ".join(text.replace("\\", "").replace('"""', "''").split())
    words = words if words.endswith((".", "?", "!")) else words + "."
    lines, line = [], ""
    for word in words.split(" "):
        if line and len(indent) + len(line) + len(word) + 4 > 106:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    lines.append(line)
    # A quote at the end of the text must not touch the closing quotes.
    tail = " " if lines[-1].endswith('"') else ""
    return f'{indent}"""' + f"\n{indent}".join(lines) + f'{tail}"""\n'


def literal(schema: dict[str, Any]) -> str:
    return "Literal[" + ", ".join(json.dumps(value) for value in schema["enum"]) + "]"


def aliases(schemas: Schemas, names: list[str]) -> str:
    out = ""
    for name in names:
        schema = schemas.all[name]
        if "enum" in schema:
            out += f"{name}: TypeAlias = {literal(schema)}\n{doc(schema.get('description'))}\n"
    return out


def models(schemas: Schemas) -> str:
    names = schemas.reachable("responses")
    out = HEAD.format(
        title="The answers of the gateway.",
        imports="from dataclasses import dataclass, field\nfrom typing import Any, Literal, TypeAlias\n\n"
        "from quotagate import _json\nfrom quotagate._json import NULLABLE, Amount, Model",
    )
    out += "\n" + aliases(schemas, names)
    wiring = ""
    for name in names:
        merged = schemas.as_object(name)
        if merged is None:
            continue
        out += f"\n@dataclass(frozen=True, slots=True, kw_only=True)\nclass {name}(Model):\n"
        out += doc(schemas.all[name].get("description") or f"``{name}`` of the API.", "    ") + "\n"
        wiring += f"{name}._fields = {{\n"
        for field, schema in merged["properties"].items():
            required = field in merged.get("required", [])
            nullable = schemas.nullable(schema)
            kind = schemas.model_type(schema)
            annotation, default = kind, ""
            if nullable or not required:
                empty = schemas.empty(schema) if not nullable else None
                if empty is None:
                    annotation, default = (kind if kind == "Any" else f"{kind} | None"), " = None"
                else:
                    default = f" = {empty}"
            out += f"    {snake(field)}: {annotation}{default}\n{doc(schemas.description(schema), '    ')}"
            presence = "NULLABLE" if required and nullable else str(required)
            wiring += f'    "{field}": ("{snake(field)}", {schemas.reader(schema)}, {presence}),\n'
        wiring += "}\n"
        out += "\n"
    return out + "\n" + wiring


def bodies(schemas: Schemas) -> str:
    names = schemas.reachable("requestBody")
    out = HEAD.format(
        title="The requests of the gateway, with the names of the API.",
        imports="from collections.abc import Mapping, Sequence\n"
        "from typing import Any, Literal, TypeAlias, TypedDict\n\n"
        "from quotagate._json import Number",
    )
    out += "\n" + aliases(schemas, names)
    for name in names:
        merged = schemas.as_object(name)
        if merged is None:
            continue
        fields = merged["properties"].items()
        required = {field: schema for field, schema in fields if field in merged.get("required", [])}
        optional = {field: schema for field, schema in fields if field not in required}
        text = doc(schemas.all[name].get("description") or f"``{name}`` of the API.", "    ")
        base = "TypedDict"
        if required and optional:
            base = f"_{name}Required"
            out += f"\nclass {base}(TypedDict):\n" + body_fields(schemas, required) + "\n"
        total = ", total=False" if optional or not required else ""
        out += f"\nclass {name}({base}{total}):\n{text}\n" + body_fields(schemas, optional or required) + "\n"
    return out


def body_fields(schemas: Schemas, fields: dict[str, Any]) -> str:
    out = ""
    for field, schema in fields.items():
        kind = schemas.body_type(schema)
        annotation = f"{kind} | None" if schemas.nullable(schema) and kind != "Any" else kind
        out += f"    {field}: {annotation}\n{doc(schemas.description(schema), '    ')}"
    return out


def formatted(text: str) -> str:
    # The program itself starts faster than `python -m ruff`.
    ruff = Path(sys.executable).with_name("ruff")
    if not ruff.exists():
        raise SystemExit(f"no ruff beside {sys.executable}: run ./test.sh generate, which installs it into .venv")
    for command in (["check", "--quiet", "--fix", "--select", "I,F401"], ["format", "--quiet"]):
        arguments = [str(ruff), *command, "--stdin-filename", str(PACKAGE / "x.py"), "-"]
        done = subprocess.run(arguments, input=text, capture_output=True, text=True, cwd=SDK, check=False)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        text = done.stdout
    return text


def generate(document: dict[str, Any]) -> dict[Path, str]:
    """The text of each file."""
    schemas = Schemas(document)
    unused = [name for name in schemas.all if is_list_page(name)]
    for name in unused:
        # The client reads pages itself: items and cursor.
        schemas.skip(name)
    return {
        PACKAGE / "models.py": formatted(models(schemas)),
        PACKAGE / "bodies.py": formatted(bodies(schemas)),
    }


def main() -> None:
    texts = generate(json.loads(OPENAPI.read_text()))
    check = "--check" in sys.argv
    for path, text in texts.items():
        if check and (not path.exists() or path.read_text() != text):
            raise SystemExit(f"{path} differs from openapi.json: run ./test.sh generate")
        if not check:
            path.write_text(text)


if __name__ == "__main__":
    main()
