"""`homeserver status`: how the running server is."""

from datetime import timedelta
from pathlib import Path

import click

from homeserver.cli import _text
from homeserver.cli._admin import AdminApi
from homeserver.cli._options import config_option, json_option, load_config, print_json


@click.command("status")
@config_option
@json_option
def command(config_file: Path | None, *, as_json: bool) -> None:
    """Show how the running server is."""
    status = AdminApi(load_config(config_file)).get("status")
    if as_json:
        print_json(status)
        return
    names = {name.replace("_", " "): value for name, value in status.items()}
    if "uptime s" in names:
        names["running for"] = timedelta(seconds=int(names.pop("uptime s")))
    click.echo(_text.pairs(names))
