"""`homeserver audit`: who agreed to what, when and how."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from homeserver.cli import _text
from homeserver.cli._admin import AdminApi
from homeserver.cli._options import config_option, json_option, load_config, print_json

_PAGE = "1000"

Json = dict[str, Any]


@click.command("audit")
@click.option("--peer", metavar="NAME", help="Of one connection alone.")
@click.option("--lines", is_flag=True, help="As JSON lines, to be kept elsewhere.")
@config_option
@json_option
def command(peer: str | None, config_file: Path | None, *, lines: bool, as_json: bool) -> None:
    """Show the evidence of consent, oldest first. Nobody can change it."""
    entries = _entries(AdminApi(load_config(config_file)), peer)
    if lines:
        for entry in entries:
            click.echo(json.dumps(entry, ensure_ascii=False))
        return
    found = list(entries)
    if as_json:
        print_json(found)
        return
    heads = ("WHEN", "WHO", "WHAT", "HOW", "STANDING", "SERVER")
    click.echo(_text.table(heads, [_row(entry) for entry in found]))


def _row(entry: Json) -> tuple[Any, ...]:
    step, detail = entry["step"], entry.get("detail")
    return (
        _text.moment(entry["at"]),
        entry["who"],
        f"{step} ({detail})" if detail else step,
        entry["how"],
        entry["standing"],
        entry["server_name"],
    )


def _entries(admin: AdminApi, peer: str | None) -> Iterator[Json]:
    after: str | None = "0"
    while after is not None:
        asked = {"after": after, "limit": _PAGE} | ({} if peer is None else {"peer": peer})
        page = admin.get("audit", query=asked)
        yield from page["audit"]
        after = None if page.get("next") is None else str(page["next"])
