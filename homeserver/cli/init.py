"""`homeserver init`: set up a server. Asks nothing and overwrites nothing."""

import contextlib
import getpass
import importlib.util
import os
import re
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from homeserver import config, errors
from homeserver.cli import _text
from homeserver.cli._admin import TOKEN_FILE
from homeserver.cli._options import end_with_mistakes, settings_file
from homeserver.config import Config, ConfigError

_FIRST_PORT = 8008
_PORTS_TRIED = 100

# Nothing that looks like something else; 20 of these are 99 bits.
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"

_HEAD = """\
# Only what differs from the defaults stands here.
# `homeserver init --print` shows every setting with its meaning.
"""


@dataclass(frozen=True, slots=True)
class _Wishes:
    """The options of `homeserver init`."""

    data_dir: Path | None
    config_file: Path | None
    user: str | None
    password_file: str | None
    server_name: str | None
    listen: str | None
    public_urls: tuple[str, ...]

    @property
    def _given(self) -> Path | None:
        """The file that `--config` means, which may name a directory."""
        return settings_file(self.config_file) if self.config_file else None

    @property
    def directory(self) -> Path:
        if self.data_dir is not None:
            return self.data_dir.absolute()
        return self._given.absolute().parent if self._given else config.default_data_dir()

    @property
    def file(self) -> Path:
        return self._given.absolute() if self._given else self.directory / "config.yaml"


def _print_example(context: click.Context, _option: click.Parameter, is_asked: bool) -> None:  # noqa: FBT001 - click's order
    if is_asked:
        click.echo(config.example_yaml(), nl=False)
        context.exit()


@click.command("init")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the server keeps its files.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="Where the settings go; by default DIR/config.yaml.",
)
@click.option("--user", metavar="NAME", help="Your short user name.")
@click.option("--password-file", metavar="FILE|-", help="Where your password stands; - is stdin.")
@click.option("--server-name", metavar="NAME", help="A DNS name, instead of one made of a key.")
@click.option("--listen", metavar="HOST:PORT", help="By default 127.0.0.1:8008 or the next free.")
@click.option("--public-url", "public_urls", multiple=True, metavar="URL", help="Can be repeated.")
@click.option(
    "--print",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_example,
    help="Only show every setting with its default.",
)
def command(**given: Any) -> None:
    """Set up a server: its settings, its keys and your account."""
    wishes = _Wishes(**given)
    settings = _settings(wishes)
    try:
        parsed = config.parse(settings, wishes.file.parent, os.environ)
    except ConfigError as error:
        end_with_mistakes(error)
    _refuse_to_overwrite(wishes.file, parsed.data_directory)
    click.echo(_set_up(wishes, settings, parsed, _read_password(wishes.password_file)), nl=False)


def _set_up(wishes: _Wishes, settings: Any, parsed: Config, password: str | None) -> str:
    """Make everything, or nothing; return what the owner has to know."""
    from homeserver.app import initialising

    chosen = password or _make_password()
    with _all_or_nothing(parsed.data_directory, wishes.file.parent):
        try:
            made = initialising.initialise(parsed, parsed.server.user_name, chosen)
        except errors.HomeserverError as error:
            raise click.ClickException(str(error)) from error
        _write(parsed.data_directory / TOKEN_FILE, secrets.token_urlsafe(32) + "\n")
        _write(wishes.file, _HEAD + yaml.safe_dump(settings, sort_keys=False))
    told = {
        "files": parsed.data_directory,
        "server name": made.server_name,
        "node id": made.node_id,
        "user name": parsed.server.user_name,
        "password": chosen if password is None else "as you gave it",
        "recovery phrase": made.recovery_phrase,
    }
    return _TOLD.format(told=_text.pairs(told), start=_text.invocation(wishes.file, "run"))


_TOLD = """\
Your server is set up.

{told}

Keep the recovery phrase (and the password) in a safe place: they are not shown again. The phrase
proves that this server's name is yours: `homeserver identity recover` renews all keys with it.

Start it:
  {start}
"""


def _settings(wishes: _Wishes) -> dict[str, Any]:
    """What differs from the defaults, as it will stand in the file."""
    server: dict[str, Any] = {"user_name": wishes.user or _own_name()}
    if wishes.server_name is not None:
        server["server_name"] = wishes.server_name
    if wishes.public_urls:
        server["public_urls"] = list(wishes.public_urls)
    settings: dict[str, Any] = {"server": server}
    if wishes.directory != wishes.file.parent:
        settings["data_dir"] = str(wishes.directory)
    listeners = _listeners(wishes.listen)
    if listeners != [{"port": _FIRST_PORT}]:
        settings["listeners"] = listeners
    if importlib.util.find_spec("olm") is None:
        settings["federation"] = {"ratchets": "vodozemac"}
    return settings


def _listeners(listen: str | None) -> list[dict[str, Any]]:
    """One for all on this machine; beyond it, the owner's commands get one of their own."""
    if listen is None:
        return [{"port": _free_port(_FIRST_PORT)}]
    host, port = _host_and_port(listen)
    outside = {"bind": host, "port": port, "serves": ["client", "federation"]}
    try:
        is_loopback = config.Listener(bind=host, serves=("client",)).is_loopback
    except ValueError:
        return [{"bind": host, "port": port}]  # checking the settings tells what is wrong
    if is_loopback:
        return [{"port": port} if host == "127.0.0.1" else {"bind": host, "port": port}]
    return [outside, {"port": _free_port(port + 1), "serves": ["admin"]}]


def _host_and_port(listen: str) -> tuple[str, int]:
    match = re.fullmatch(r"\[?([^\[\]]+)\]?:([0-9]{1,5})", listen)
    if match is None:
        raise click.BadParameter("must look like 127.0.0.1:8008", param_hint="--listen")
    return match[1], int(match[2])


def _free_port(first: int) -> int:
    for port in range(first, first + _PORTS_TRIED):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError, OverflowError):
                probe.bind(("127.0.0.1", port))
                return port
    raise click.ClickException(f"No port from {first} on is free; choose one with --listen.")


def _own_name() -> str:
    """The name under which the owner uses this machine, if it can be a Matrix name."""
    try:
        name = re.sub(r"[^a-z0-9._=/+-]", "", getpass.getuser().lower())
    except (KeyError, OSError):
        name = ""
    return name if name not in ("", "root") else "owner"


def _read_password(file: str | None) -> str | None:
    if file is None:
        return None
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"The password cannot be read from {file}: {error}.") from error
    password = text.rstrip("\r\n")
    if not password:
        raise click.ClickException("The password is empty.")
    return password


def _make_password() -> str:
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))


def _refuse_to_overwrite(file: Path, data_directory: Path) -> None:
    for path in (file, data_directory / TOKEN_FILE, data_directory / "homeserver.db"):
        if path.exists():
            raise click.ClickException(
                f"{path} exists already; there is a server here, and nothing was changed."
            )


@contextlib.contextmanager
def _all_or_nothing(data_directory: Path, *others: Path) -> Iterator[None]:
    """Make the directories; take the files away again if something goes wrong."""
    for directory in (data_directory, *others):
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise click.ClickException(f"{directory} cannot be made: {error.strerror}.") from error
    there_before = set(data_directory.iterdir())
    try:
        yield
    except BaseException:
        for made in set(data_directory.iterdir()) - there_before:
            if made.is_dir():
                shutil.rmtree(made)
            else:
                made.unlink()
        raise


def _write(file: Path, text: str) -> None:
    """Make a file that only the owner may read; never one that is there."""
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:  # noqa: PTH123 - of a descriptor
        opened.write(text)
