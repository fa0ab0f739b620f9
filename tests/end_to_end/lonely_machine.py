"""Two people meet and talk on a machine that has loopback and nothing else: no Internet, no DNS.

Run it in a network namespace of its own: `unshare -rn python -m tests.end_to_end.lonely_machine
DIRECTORY`. It says "heard" once everything was heard.
"""

import asyncio
import fcntl
import socket
import struct
import sys
from pathlib import Path

from homeserver.testing import processes
from homeserver.testing.client import Client
from homeserver.testing.processes import VODOZEMAC, Server
from tests.end_to_end import story

_GET_FLAGS, _SET_FLAGS, _IS_UP = 0x8913, 0x8914, 1


def has_a_way_out() -> bool:
    """Whether anything but loopback is there."""
    return [name for _, name in socket.if_nameindex()] != ["lo"]


def raise_loopback() -> None:
    """A fresh network namespace has a loopback interface that is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sH22x", b"lo", 0)
        flags = struct.unpack("16sH22x", fcntl.ioctl(any_socket, _GET_FLAGS, asked))[1]
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sH22x", b"lo", flags | _IS_UP))


async def meet_and_talk(alice: Server, bob: Server) -> None:
    """Connect, make a room, say something both ways, and pass a file on."""
    processes.connect(alice, bob)
    async with Client(alice.url) as hers, Client(bob.url) as his:
        await hers.log_in(alice.user, alice.password)
        await his.log_in(bob.user, bob.password)
        room_id = await story.meet(hers, his)
        for speaker, listener in ((hers, his), (his, hers)):
            await speaker.send_text(room_id, "do you hear me?")
            await story.until_heard(listener, room_id, speaker.user_id, ["do you hear me?"])
        file = bytes(range(256)) * 100
        assert await his.download(await hers.upload(file, "text/plain")) == file


def main(directory: Path) -> None:
    """Tell the story where no way leads out."""
    if has_a_way_out():
        raise SystemExit("This machine has more than loopback.")
    raise_loopback()
    alice = Server(directory=directory / "alice", user="alice")
    bob = Server(directory=directory / "bob", user="bob", environment=VODOZEMAC)
    with processes.running(alice, bob):
        asyncio.run(meet_and_talk(alice, bob))
    sys.stdout.write("heard\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
