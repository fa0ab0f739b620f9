"""Every setting: its type, its limits, its default and what it means.

`config.example.yaml` is made from these files, and so are the sentences about mistakes.
"""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from homeserver.config.federation_settings import FederationSettings
from homeserver.config.retention_settings import RetentionSettings
from homeserver.config.section import Section

Service = Literal["client", "federation", "admin"]

_MEBIBYTE = 1 << 20
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DNS_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})+(:[0-9]{{1,5}})?")
_LOCALPART = re.compile(r"[a-z0-9._=/+-]+")


def _check_route(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must look like https://example.org or http://192.0.2.1:8008")
    if parts.username or parts.query or parts.fragment:
        raise ValueError("must have no user, query or fragment")
    return url.rstrip("/")


def _is_ipv6(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return isinstance(address, ipaddress.IPv6Address)


Route = Annotated[str, AfterValidator(_check_route)]


class ServerSettings(Section):
    """Who this server is."""

    server_name: str | None = Field(
        None,
        max_length=230,
        description="A DNS name to be known by, for life. Without one the server's name is made "
        "of its own key and depends on nobody.",
    )
    user_name: str = Field(
        "owner",
        max_length=200,
        description="The owner's short user name, for life: lower-case letters, digits, ._=/+-",
    )
    public_urls: tuple[Route, ...] = Field(
        (),
        max_length=5,
        description="Where peers can reach this server; they learn it with an invitation. "
        "Without any, only peers on this machine can.",
    )

    @field_validator("server_name")
    @classmethod
    def _check_server_name(cls, name: str | None) -> str | None:
        if name is not None and (not _DNS_NAME.fullmatch(name) or name.endswith(".alt")):
            raise ValueError("must be a lower-case DNS name such as matrix.example.org, or null")
        return name

    @field_validator("user_name")
    @classmethod
    def _check_user_name(cls, name: str) -> str:
        if not _LOCALPART.fullmatch(name):
            raise ValueError("must be made of lower-case letters, digits and ._=/+-")
        return name


class Listener(Section):
    """A place where the server answers."""

    bind: str = Field(
        "127.0.0.1",
        description="The IP address to listen at. 127.0.0.1 is this machine alone, 0.0.0.0 every "
        "network it is in.",
    )
    port: int = Field(8008, ge=1, le=65535, description="The TCP port.")
    tls_certificate: Path | None = Field(
        None, description="A PEM file with the certificate chain, for https. Needs tls_key."
    )
    tls_key: Path | None = Field(None, description="A PEM file with the certificate's key.")
    serves: tuple[Service, ...] = Field(
        ("client", "federation", "admin"),
        min_length=1,
        description="What it answers: Matrix clients, peers, the owner's commands. The last one "
        "on this machine only.",
    )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.bind).is_loopback

    @property
    def url(self) -> str:
        """Where a program on this machine finds it."""
        address = ipaddress.ip_address(self.bind)
        if address.is_unspecified:
            address = ipaddress.ip_address("::1" if _is_ipv6(address) else "127.0.0.1")
        host = f"[{address}]" if _is_ipv6(address) else str(address)
        return f"{'https' if self.tls_certificate else 'http'}://{host}:{self.port}"

    @field_validator("bind", mode="before")
    @classmethod
    def _check_bind(cls, bind: Any) -> str:
        try:
            return str(ipaddress.ip_address("127.0.0.1" if bind == "localhost" else bind))
        except ValueError as error:
            raise ValueError("must be an IP address such as 127.0.0.1, 0.0.0.0 or ::") from error

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key must be given together")
        if "admin" in self.serves and not self.is_loopback:
            raise ValueError(
                "must not serve admin beyond this machine; give admin a listener of its own at "
                "127.0.0.1"
            )
        return self


class DatabaseSettings(Section):
    """Where everything is kept."""

    url: str = Field(
        "sqlite:///homeserver.db",
        description="sqlite:///FILE (relative to the data directory) or "
        "postgresql+psycopg://USER@HOST/NAME.",
    )
    password_file: Path | None = Field(
        None, description="A file with PostgreSQL's password and nothing else."
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if not re.match(r"sqlite:///.|postgresql\+psycopg://", url):
            raise ValueError("must start with sqlite:/// or postgresql+psycopg://")
        if not url.startswith("sqlite") and urlsplit(url).password:
            raise ValueError("must not hold a password; use password_file")
        return url


class RateLimits(Section):
    """How often somebody may try."""

    enabled: bool = Field(default=True, description="Off for tests and benchmarks only.")
    logins_per_minute: int = Field(10, ge=1, description="Log-ins tried, per source and minute.")
    strangers_per_minute: int = Field(
        60,
        ge=1,
        description="Deliveries that open no box or an invitation's, per source and minute; after "
        "that invitations do not answer the source. Peers are never limited by it. Behind a proxy "
        "on another machine all strangers are one source.",
    )


class MediaSettings(Section):
    """Files that clients upload."""

    max_upload_bytes: int = Field(50 * _MEBIBYTE, ge=1, description="Largest upload, in bytes.")
    max_pixels: int = Field(
        50_000_000, ge=1, description="Largest picture that gets a thumbnail, in pixels."
    )


class EncryptionSettings(Section):
    """What clients keep here for their encryption."""

    max_backup_bytes: int = Field(
        256 * _MEBIBYTE,
        ge=1,
        description="Largest backup of room keys, all its versions together, in bytes. Ten "
        "thousand keys take about ten million.",
    )


class PushSettings(Section):
    """Who may be told that something happened, to wake the owner's telephone."""

    gateways: tuple[Route, ...] = Field(
        (),
        max_length=16,
        description="Push gateways that clients may name, each by its whole URL, such as "
        "https://matrix.org/_matrix/push/v1/notify. A gateway learns when you are written to.",
    )


class VoipSettings(Section):
    """Calls between clients that cannot reach each other directly."""

    turn_urls: tuple[str, ...] = Field(
        (),
        max_length=8,
        description="A TURN relay of yours, such as turn:turn.example.org?transport=udp.",
    )
    turn_secret_file: Path | None = Field(
        None, description="A file with the secret that the relay shares with this server."
    )
    turn_lifetime_seconds: int = Field(
        86_400,
        ge=60,
        le=604_800,
        description="How long a client may use what it was given, in seconds.",
    )
    livekit_service_url: Route | None = Field(
        None,
        description="A LiveKit service of yours for calls in Element, such as "
        "https://calls.example.org/livekit/jwt. Who calls learns of it.",
    )

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        if bool(self.turn_urls) != (self.turn_secret_file is not None):
            raise ValueError("turn_urls and turn_secret_file must be given together")
        if any(not re.match(r"(turns?|stuns?):.", url) for url in self.turn_urls):
            raise ValueError("turn_urls must start with turn:, turns:, stun: or stuns:")
        return self


class SecretsSettings(Section):
    """How the keys on disk are locked."""

    passphrase_file: Path | None = Field(
        None,
        description="A file with the passphrase that locks the key in the data directory. "
        "Without one, a locked key is asked for at start.",
    )


class LoggingSettings(Section):
    """What is written to standard error. Never messages, keys or tokens."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least important line that is still written."
    )


class Config(Section):
    """All settings of one server."""

    data_dir: Path = Field(
        Path(),
        description="Where the server keeps its files; relative to this file's directory.",
    )
    server: ServerSettings = Field(ServerSettings(), description="Who this server is.")
    listeners: tuple[Listener, ...] = Field(
        (Listener(),), min_length=1, max_length=16, description="Where the server answers."
    )
    database: DatabaseSettings = Field(DatabaseSettings(), description="Where everything is kept.")
    federation: FederationSettings = Field(
        FederationSettings(), description="How this server deals with peers."
    )
    rate_limits: RateLimits = Field(RateLimits(), description="How often somebody may try.")
    media: MediaSettings = Field(MediaSettings(), description="Files that clients upload.")
    encryption: EncryptionSettings = Field(
        EncryptionSettings(), description="What clients keep here for their encryption."
    )
    push: PushSettings = Field(
        PushSettings(),
        description="Who may be told that something happened, to wake the owner's telephone.",
    )
    voip: VoipSettings = Field(
        VoipSettings(),
        description="Calls between clients that cannot reach each other directly.",
    )
    retention: RetentionSettings = Field(
        RetentionSettings(), description="How long messages are kept."
    )
    secrets: SecretsSettings = Field(
        SecretsSettings(), description="How the keys on disk are locked."
    )
    logging: LoggingSettings = Field(
        LoggingSettings(), description="What is written to standard error."
    )

    @field_validator("listeners")
    @classmethod
    def _check_listeners(cls, listeners: tuple[Listener, ...]) -> tuple[Listener, ...]:
        places = [(listener.bind, listener.port) for listener in listeners]
        for place in places:
            if places.count(place) > 1:
                raise ValueError(f"must not use {place[0]} port {place[1]} twice")
        return listeners

    @property
    def data_directory(self) -> Path:
        """The directory of the server's files; absolute once the settings are loaded."""
        return self.data_dir

    @property
    def database_url(self) -> str:
        """The database's URL as SQLAlchemy wants it, with a SQLite file's path made absolute."""
        scheme, _, file = self.database.url.partition("sqlite:///")
        if not scheme and file:
            return f"sqlite:///{self.data_directory / file}"
        if self.database.password_file is None:
            return self.database.url
        password = self.path(self.database.password_file).read_text(encoding="utf-8").strip()
        scheme, rest = self.database.url.split("://", 1)
        user, _, place = rest.rpartition("@")
        return f"{scheme}://{user}:{quote(password, safe='')}@{place}"

    def path(self, relative: Path) -> Path:
        """A file that a setting names: relative to the data directory, or absolute."""
        return self.data_directory / relative

    def listener_serving(self, service: Service) -> Listener | None:
        """The first listener that answers such requests."""
        return next((one for one in self.listeners if service in one.serves), None)
