"""Somebody who uses matrix-js-sdk with rust crypto, in a node process of their own."""

import asyncio
import base64
import contextlib
import functools
import itertools
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import platformdirs

from homeserver.testing.encrypted_client import PATIENCE_S, Heard

_SCRIPTS = Path(__file__).resolve().parent.parent / "javascript"
_INSTALL_LIMIT_S = 400.0
_PING_LIMIT_S = 60.0
_LINE_LIMIT = 16 << 20


class NodeMissing(Exception):
    """There is no node, no npm or no registry on this machine."""


class NotInstalled(Exception):
    """All of them are there, and still the library could not be installed."""


def folder_with_library() -> Path:
    """Install matrix-js-sdk once per version into the user's cache, if it is not there.

    Raises NodeMissing, NotInstalled.
    """
    found = _find_library()
    if isinstance(found, Exception):
        raise found
    return found


def is_needed(environment: Mapping[str, str]) -> bool:
    """Whether tests must fail where node is missing: what is skipped there is never run."""
    return environment.get("CI", "").lower() in ("1", "true")


@functools.cache
def _find_library() -> Path | NodeMissing | NotInstalled:
    if shutil.which("node") is None or shutil.which("npm") is None:
        return NodeMissing("node and npm are not installed")
    wanted = (_SCRIPTS / "package.json").read_bytes()
    cache = Path(platformdirs.user_cache_dir("homeserver-tests"))
    folder = cache / f"javascript-{sha256(wanted).hexdigest()[:12]}"
    if not (folder / "node_modules").is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        mistake = _install(cache, folder) and _install(cache, folder)
        if mistake:
            kind = NotInstalled if _run_npm(cache, _PING_LIMIT_S, "ping") is None else NodeMissing
            return kind(f"npm could not install matrix-js-sdk: {mistake}")
    return _place_scripts(folder)


def _place_scripts(folder: Path) -> Path:
    """A folder of their own below the library, so that another checkout's tests may run beside."""
    scripts = sorted(_SCRIPTS.glob("*.mjs"))
    content = b"".join(script.read_bytes() for script in scripts)
    place = folder / sha256(content).hexdigest()[:12]
    if not place.is_dir():
        beside = Path(tempfile.mkdtemp(dir=folder))
        for script in scripts:
            shutil.copy(script, beside)
        with contextlib.suppress(OSError):  # another process was faster
            beside.rename(place)
        shutil.rmtree(beside, ignore_errors=True)
    return place


def _install(cache: Path, folder: Path) -> str | None:
    """Install beside and move, so that an interrupted installation is not taken for a whole one.

    What went wrong, or None; another process may have been faster.
    """
    beside = Path(tempfile.mkdtemp(dir=cache))
    shutil.copy(_SCRIPTS / "package.json", beside)
    options = ("--no-audit", "--no-fund", "--ignore-scripts")
    mistake = _run_npm(beside, _INSTALL_LIMIT_S, "install", *options)
    if mistake is None and not folder.is_dir():
        with contextlib.suppress(OSError):
            beside.rename(folder)
    shutil.rmtree(beside, ignore_errors=True)
    return None if folder.is_dir() else mistake or "the folder could not be moved"


def _run_npm(folder: Path, limit_s: float, *arguments: str) -> str | None:
    try:
        subprocess.run(
            ["npm", *arguments], cwd=folder, check=True, capture_output=True, timeout=limit_s
        )
    except subprocess.CalledProcessError as error:
        return f"{error}\n{error.stderr.decode(errors='replace')}"
    except (subprocess.SubprocessError, OSError) as error:
        return str(error)
    return None


class JsClient:
    """A logged-in matrix-js-sdk client, driven over its standard input and output."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.user_id = ""
        self._process = process
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read_answers())

    @classmethod
    async def log_in(
        cls, folder: Path, url: str, user: str, password: str, *, slides: bool = False
    ) -> "JsClient":
        process = await asyncio.create_subprocess_exec(
            "node",
            "driver.mjs",
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=_LINE_LIMIT,
        )
        person = cls(process)
        try:
            person.user_id = await person._call("logIn", url, user, password, slides)
        except BaseException:
            await person.close()
            raise
        return person

    async def create_encrypted_room(self, name: str, invite: list[str]) -> str:
        return str(await self._call("createEncryptedRoom", name, invite))

    async def join(self, room_id: str) -> None:
        await self._call("join", room_id)

    async def knows(self, room_id: str) -> None:
        await self._call("knows", room_id)

    async def sees_member(self, room_id: str, user_id: str) -> None:
        await self._call("seesMember", room_id, user_id)

    async def send(self, room_id: str, event_type: str, content: dict[str, Any]) -> str:
        return str(await self._call("send", room_id, event_type, content))

    async def hears(self, room_id: str, text: str) -> Heard:
        return Heard(**await self._call("hears", room_id, text))

    async def shown(self, room_id: str) -> list[tuple[str, str, str]]:
        """Event, sender and text of each message on the screen, from top to bottom."""
        return [tuple(one) for one in await self._call("shown", room_id)]

    async def redact(self, room_id: str, event_id: str) -> None:
        await self._call("redact", room_id, event_id)

    async def sees_reaction(self, room_id: str, event_id: str, key: str) -> None:
        await self._call("seesReaction", room_id, event_id, key)

    async def sees_edit(self, room_id: str, event_id: str, text: str) -> None:
        await self._call("seesEdit", room_id, event_id, text)

    async def sees_redacted(self, room_id: str, event_id: str) -> None:
        await self._call("seesRedacted", room_id, event_id)

    async def read(self, room_id: str, event_id: str) -> None:
        await self._call("read", room_id, event_id)

    async def sees_read(self, room_id: str, event_id: str, by: str) -> None:
        await self._call("seesRead", room_id, event_id, by)

    async def type_something(self, room_id: str) -> None:
        await self._call("typeSomething", room_id)

    async def sees_typing(self, room_id: str, user_id: str) -> None:
        await self._call("seesTyping", room_id, user_id)

    async def upload(self, content: bytes, content_type: str) -> str:
        return str(await self._call("upload", _encoded(content), content_type))

    async def upload_encrypted(self, content: bytes) -> dict[str, Any]:
        file: dict[str, Any] = await self._call("uploadEncrypted", _encoded(content))
        return file

    async def download(self, mxc_uri: str) -> bytes:
        return base64.b64decode(await self._call("download", mxc_uri))

    async def download_encrypted(self, file: dict[str, Any]) -> bytes:
        return base64.b64decode(await self._call("downloadEncrypted", file))

    async def thumbnail(self, mxc_uri: str, width: int, height: int) -> bytes:
        return base64.b64decode(await self._call("thumbnail", mxc_uri, width, height))

    async def log_out(self) -> None:
        await self._call("logOut")

    async def readable(self, room_id: str) -> tuple[list[str], int]:
        """Its texts, oldest first, and how many events cannot be decrypted."""
        seen = await self._call("readable", room_id)
        return seen["texts"], seen["unreadable"]

    async def does(self, name: str, *arguments: Any) -> Any:
        """Call a function of the driver; for what only this client can do."""
        return await self._call(name, *arguments)

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 5)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading

    async def _call(self, name: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        line = json.dumps({"id": number, "call": name, "with": arguments})
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()
        return await asyncio.wait_for(answer, PATIENCE_S + 10)

    async def _read_answers(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            answer = json.loads(line)
            waiting = self._waiting.pop(answer["id"])
            if waiting.done():
                continue
            if "error" in answer:
                waiting.set_exception(AssertionError(answer["error"]))
            else:
                waiting.set_result(answer["result"])
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(AssertionError("the node process ended"))


@contextlib.asynccontextmanager
async def js_client(
    url: str, user: str, password: str, *, slides: bool = False
) -> AsyncIterator[JsClient]:
    """A matrix-js-sdk client for the length of a block; `slides`: by sliding sync."""
    person = await JsClient.log_in(folder_with_library(), url, user, password, slides=slides)
    try:
        yield person
    finally:
        await person.close()


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
