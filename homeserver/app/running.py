"""Run a server until it is told to stop: one aiohttp application per listener."""

import asyncio
import contextlib
import errno
import fcntl
import gc
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from aiohttp import web

from homeserver import errors
from homeserver.app import wiring
from homeserver.app.listening import Listening
from homeserver.config import Config, Listener
from homeserver.keyring import Keyring

# How long requests that are under way may go on after a stop was asked for, in seconds.
_SHUTDOWN_S = 2.0


class AlreadyRunning(errors.HomeserverError):
    """Another server is running on this data directory."""


class CannotListen(errors.HomeserverError):
    """A listener's place is taken, or not this machine's, or not for this user."""

    def __init__(self, listener: Listener, error: OSError) -> None:
        reasons = {
            errno.EADDRINUSE: "another program listens there already",
            errno.EADDRNOTAVAIL: "this machine does not have that address",
            errno.EACCES: "this user may not; ports below 1024 are for administrators",
        }
        reason = reasons.get(error.errno or 0, error.strerror or str(error))
        super().__init__(f"Nothing can listen at {listener.bind} port {listener.port}: {reason}.")


class UnusableCertificate(errors.HomeserverError):
    """The certificate of a listener cannot be used."""


def serve(config: Config, keyring: Keyring, announce: Callable[[], None]) -> None:
    """Run until SIGTERM or SIGINT; call `announce` once every listener is open.

    Raises AlreadyRunning, CannotListen, UnusableCertificate.
    """
    with (
        only_one(config.data_directory),
        asyncio.Runner(loop_factory=_loop_factory()) as runner,
    ):
        runner.run(_serve(config, keyring, announce))


async def _serve(config: Config, keyring: Keyring, announce: Callable[[], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with started(config, keyring):
        _settle_memory()
        announce()
        await stop.wait()


def _settle_memory() -> None:
    """Let the collector pass over what stays anyway."""
    gc.collect()
    gc.freeze()


@contextlib.asynccontextmanager
async def started(config: Config, keyring: Keyring) -> AsyncIterator[wiring.Server]:
    """A running server: listeners open, workers at work; all of it ended on the way out."""
    async with contextlib.AsyncExitStack() as stack:
        server = wiring.build(config, keyring)
        stack.push_async_callback(server.close)
        for listener in config.listeners:
            await _open(listener, config.data_directory, server, stack)
        await server.start_workers()
        yield server


async def _open(
    listener: Listener, directory: Path, server: wiring.Server, stack: contextlib.AsyncExitStack
) -> None:
    runner = Listening(
        server.application(listener.serves),
        access_log=None,
        handle_signals=False,
        shutdown_timeout=_SHUTDOWN_S,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, listener.bind, listener.port, ssl_context=_tls(listener, directory))
    try:
        await site.start()
    except OSError as error:
        raise CannotListen(listener, error) from error


def _tls(listener: Listener, directory: Path) -> ssl.SSLContext | None:
    if listener.tls_certificate is None or listener.tls_key is None:
        return None
    certificate, key = directory / listener.tls_certificate, directory / listener.tls_key
    for file in (certificate, key):
        try:
            file.read_bytes()
        except OSError as error:
            raise UnusableCertificate(f"{file} cannot be read: {error.strerror}.") from error
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise UnusableCertificate(
            f"{certificate} and {key} are not a PEM certificate and its key."
        ) from error
    return context


@contextlib.contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """Hold the data directory: two servers on one database would be two copies of one identity."""
    with (directory / "homeserver.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning from None
        yield


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Choose uvloop where it is installed: a fifth less CPU for each request."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
