"""What the tests let somebody do with a client, whichever client it is."""

import io
from typing import Any, Protocol

from PIL import Image

from homeserver.testing.encrypted_client import Heard


class Person(Protocol):
    """Somebody with a logged-in client that does end-to-end encryption."""

    @property
    def user_id(self) -> str: ...

    async def create_encrypted_room(self, name: str, invite: list[str]) -> str: ...

    async def join(self, room_id: str) -> None:
        """Wait for the invite, accept it, and wait until the client knows the room."""

    async def knows(self, room_id: str) -> None:
        """Wait until the client knows the room as an encrypted one."""

    async def sees_member(self, room_id: str, user_id: str) -> None: ...

    async def send(self, room_id: str, event_type: str, content: dict[str, Any]) -> str: ...

    async def hears(self, room_id: str, text: str) -> Heard: ...

    async def redact(self, room_id: str, event_id: str) -> None: ...

    async def sees_reaction(self, room_id: str, event_id: str, key: str) -> None: ...

    async def sees_edit(self, room_id: str, event_id: str, text: str) -> None: ...

    async def sees_redacted(self, room_id: str, event_id: str) -> None: ...

    async def read(self, room_id: str, event_id: str) -> None: ...

    async def sees_read(self, room_id: str, event_id: str, by: str) -> None: ...

    async def type_something(self, room_id: str) -> None: ...

    async def sees_typing(self, room_id: str, user_id: str) -> None: ...

    async def upload(self, content: bytes, content_type: str) -> str:
        """Upload a file as it is and return its mxc URI."""

    async def upload_encrypted(self, content: bytes) -> dict[str, Any]:
        """Encrypt a file as an attachment, upload it and return the `EncryptedFile` for it."""

    async def download(self, mxc_uri: str) -> bytes: ...

    async def download_encrypted(self, file: dict[str, Any]) -> bytes: ...

    async def thumbnail(self, mxc_uri: str, width: int, height: int) -> bytes: ...

    async def readable(self, room_id: str) -> tuple[list[str], int]:
        """What a room says, oldest first, and how many of its events cannot be decrypted."""

    async def log_out(self) -> None: ...

    async def close(self) -> None: ...


async def say(person: Person, room_id: str, text: str) -> str:
    return await person.send(room_id, "m.room.message", {"msgtype": "m.text", "body": text})


async def edit(person: Person, room_id: str, event_id: str, text: str) -> str:
    message = {"msgtype": "m.text", "body": text}
    replacement = {
        "msgtype": "m.text",
        "body": f"* {text}",
        "m.new_content": message,
        "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
    }
    return await person.send(room_id, "m.room.message", replacement)


async def react(person: Person, room_id: str, event_id: str, key: str) -> str:
    relation = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
    return await person.send(room_id, "m.reaction", {"m.relates_to": relation})


async def show_picture(person: Person, room_id: str, name: str, picture: bytes) -> None:
    """Send a picture as clients do in encrypted rooms: it and its thumbnail are encrypted."""
    thumbnail = shrunk(picture)
    content = {
        "msgtype": "m.image",
        "body": name,
        "file": await person.upload_encrypted(picture),
        "info": {
            "mimetype": "image/png",
            "thumbnail_file": await person.upload_encrypted(thumbnail),
            "thumbnail_info": {"mimetype": "image/png", "w": 64, "h": 64},
        },
    }
    await person.send(room_id, "m.room.message", content)


async def look_at_picture(person: Person, room_id: str, name: str) -> tuple[bytes, bytes]:
    """Wait for a picture and return it and its thumbnail."""
    content = (await person.hears(room_id, name)).content
    picture = await person.download_encrypted(content["file"])
    return picture, await person.download_encrypted(content["info"]["thumbnail_file"])


async def chat(alice: Person, bob: Person, room_id: str, count: int = 5) -> None:
    """Talk in turns; every message must be readable for the other and encrypted on its way."""
    for number in range(count):
        for name, speaker, listener in (("Alice", alice, bob), ("Bob", bob, alice)):
            text = f"{name} says {number}"
            event_id = await say(speaker, room_id, text)
            heard = await listener.hears(room_id, text)
            assert heard.event_id == event_id
            assert heard.sender == speaker.user_id
            assert heard.was_encrypted


async def exchange_everything(alice: Person, bob: Person, room_id: str) -> None:
    """Edit, react, redact, read, type: what one does, the other sees."""
    first = await say(alice, room_id, "a frist try")
    await bob.hears(room_id, "a frist try")
    await edit(alice, room_id, first, "a first try")
    await bob.sees_edit(room_id, first, "a first try")

    await react(bob, room_id, first, "👍")
    await alice.sees_reaction(room_id, first, "👍")

    regretted = await say(alice, room_id, "regretted")
    await bob.hears(room_id, "regretted")
    await alice.redact(room_id, regretted)
    await bob.sees_redacted(room_id, regretted)

    last = await say(alice, room_id, "the last word")
    await bob.hears(room_id, "the last word")
    await bob.read(room_id, last)
    await alice.sees_read(room_id, last, bob.user_id)

    await bob.type_something(room_id)
    await alice.sees_typing(room_id, bob.user_id)


def png(width: int, height: int) -> bytes:
    """A picture that does not compress to nothing."""
    picture = Image.effect_noise((width, height), 60)
    written = io.BytesIO()
    picture.save(written, "PNG")
    return written.getvalue()


def shrunk(picture: bytes) -> bytes:
    """A client's own thumbnail."""
    with Image.open(io.BytesIO(picture)) as opened:
        opened.thumbnail((64, 64))
        written = io.BytesIO()
        opened.save(written, "PNG")
    return written.getvalue()


def size_of(picture: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(picture)) as opened:
        return opened.size
