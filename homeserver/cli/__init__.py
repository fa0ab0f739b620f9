"""The command line: one file a command, loaded when it is asked for.

A module whose name does not start with an underscore is a command; it offers `command`.
"""

import importlib
import os
import pkgutil

import click


class _Commands(click.Group):
    """Finds commands by their files, so that `run` does not pay for what others import."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Every command there is."""
        names = (module.name for module in pkgutil.iter_modules(__path__))
        return sorted(name for name in names if not name.startswith("_"))

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Load one command."""
        if name not in self.list_commands(context):
            return None
        command: click.Command = importlib.import_module(f"{__name__}.{name}").command
        return command


def _print_version(context: click.Context, _option: click.Parameter, is_asked: bool) -> None:  # noqa: FBT001 - click's order
    if is_asked:
        import importlib.metadata

        click.echo(importlib.metadata.version("personal-homeserver"))
        context.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and end.",
)
def main() -> None:
    """Your own Matrix homeserver: for you, and for those you both agreed with."""
    os.umask(0o077)  # nothing that a command writes is for other users of this machine
