"""Speak to the running server through its admin API."""

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from api.ways import COMMAND_LINE_AGENT
from homeserver.config import Config, Listener

TOKEN_FILE = "admin.token"  # noqa: S105 - the name of the file

_PREFIX = "/_homeserver/admin/v1"
_TIMEOUT_S = 30.0
_LARGEST_ANSWER = 16 << 20


class Refused(click.ClickException):
    """The server said no; its own sentence says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class AdminApi:
    """The admin API of the server that these settings describe."""

    def __init__(self, config: Config) -> None:
        listener = config.listener_serving("admin")
        if listener is None:
            raise click.ClickException("No listener in the settings serves admin.")
        self._url = listener.url
        self._token = _read_token(config.data_directory / TOKEN_FILE)
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if listener.tls_certificate is not None:
            handlers.append(urllib.request.HTTPSHandler(context=_trust(config, listener)))
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, *path: str, query: Mapping[str, str] | None = None) -> Any:
        """Ask for something."""
        return self._request("GET", path, None, query or {})

    def post(self, *path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Have something done."""
        return self._request("POST", path, body or {})

    def patch(self, *path: str, body: Mapping[str, Any]) -> Any:
        """Have something changed."""
        return self._request("PATCH", path, body)

    def delete(self, *path: str) -> Any:
        """Have something taken back."""
        return self._request("DELETE", path, None)

    def _request(
        self,
        method: str,
        path: tuple[str, ...],
        body: Mapping[str, Any] | None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        steps = "/".join(urllib.parse.quote(step, safe="") for step in path)
        steps += f"?{urllib.parse.urlencode(query)}" if query else ""
        request = urllib.request.Request(  # noqa: S310 - the URL is made from a listener's address
            f"{self._url}{_PREFIX}/{steps}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self._token}",
                "Content-Type": "application/json",
                "User-Agent": COMMAND_LINE_AGENT,
            },
        )
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as answer:
                return json.loads(answer.read(_LARGEST_ANSWER))
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, _sentence(error)) from error
        except OSError as error:
            raise click.ClickException(
                f"The server is not running: nothing answers at {self._url}. "
                "`homeserver run` starts it."
            ) from error
        except ValueError as error:
            raise click.ClickException(
                f"Something else than this server answers at {self._url}."
            ) from error


def _read_token(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise click.ClickException(
            f"{file} cannot be read ({error.strerror}); `homeserver init` makes it."
        ) from error


def _trust(config: Config, listener: Listener) -> ssl.SSLContext:
    """Trust exactly the certificate that the listener shows; its name is for others."""
    assert listener.tls_certificate is not None  # noqa: S101 - asked by the caller
    context = ssl.create_default_context(cafile=config.path(listener.tls_certificate))
    context.check_hostname = False
    return context


def _sentence(error: urllib.error.HTTPError) -> str:
    try:
        answer = json.loads(error.read(_LARGEST_ANSWER))
    except ValueError:
        answer = None
    if isinstance(answer, dict) and isinstance(answer.get("error"), str):
        return str(answer["error"])
    return f"The server answered with status {error.code}."
