"""Plain aligned text for people to read."""

import shlex
import shutil
import sys
import time
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from homeserver import config

_GAP = "  "
_LONGEST_NAME = 255  # as long as an identifier may be


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns under their heads, as wide as their widest entry."""
    lines = [list(heads), *([show(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def invocation(config_file: Path | None, *words: str) -> str:
    """What to type for one of our commands: as this one was typed, and with the same settings."""
    typed = Path(sys.argv[0])
    known = shutil.which("homeserver")
    is_on_path = known is not None and Path(known).resolve() == typed.resolve()
    is_script = typed.name == "homeserver" and not is_on_path
    is_usual = config_file is None or config_file.absolute() == config.default_path()
    option = [] if is_usual else ["--config", str(config_file)]
    return shlex.join([str(typed) if is_script else "homeserver", *words, *option])


def pairs(values: Mapping[str, Any]) -> str:
    """One value a line, each after its name."""
    width = max((len(name) for name in values), default=0) + 1
    return "\n".join(f"{name + ':':<{width}}{_GAP}{show(v)}".rstrip() for name, v in values.items())


def safe(name: str) -> str:
    """A name that a stranger chose, without what a terminal would act on."""
    return " ".join(_printable(name).split())[:_LONGEST_NAME].strip()


def called(peer: Mapping[str, Any]) -> str:
    """A peer by its name and server."""
    name = safe(peer.get("name") or "")
    server = safe(str(peer["server_name"]))
    return f"{name} ({server})" if name else server


def show(value: Any) -> str:
    """A value as a person reads it: yes and no, a dash for nothing."""
    if value is None or value in ([], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {show(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(show(inner) for inner in value)
    return _printable(str(value))


def _printable(text: str) -> str:
    return "".join(char if unicodedata.category(char)[0] not in "CZ" else " " for char in text)


def moment(milliseconds: int | None) -> str:
    """A point in time, by the clock on this machine's wall."""
    if milliseconds is None:
        return "never"
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(milliseconds / 1000))
