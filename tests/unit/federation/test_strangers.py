"""Strangers are counted by where they come from."""

import asyncio

import pytest

from federation.transport.http import FederationDoor
from federation.transport.strangers import Strangers


class Clock:
    now = 0.0

    def now_ms(self) -> int:
        return int(self.now * 1000)

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


def test_a_source_runs_out_of_tries_and_gets_them_back_with_time() -> None:
    clock = Clock()
    strangers = Strangers(3, clock)
    for _ in range(3):
        assert strangers.may_try("192.0.2.1")
        strangers.note_try("192.0.2.1")
    assert not strangers.may_try("192.0.2.1")
    assert strangers.may_try("192.0.2.2")
    clock.now = 20.1
    assert strangers.may_try("192.0.2.1")


def test_one_ipv6_network_is_one_source() -> None:
    strangers = Strangers(1, Clock())
    strangers.note_try("2001:db8:0:1::1")
    assert not strangers.may_try("2001:db8:0:1:ffff::2")
    assert strangers.may_try("2001:db8:0:2::1")


@pytest.mark.parametrize("remote", ["127.0.0.1", "::1", None, "unix socket"])
def test_this_machine_is_never_counted(remote: str | None) -> None:
    strangers = Strangers(1, Clock())
    for _ in range(5):
        strangers.note_try(remote)
    assert strangers.may_try(remote)


def test_memory_is_bounded() -> None:
    strangers = Strangers(1, Clock())
    for number in range(5_000):
        strangers.note_try(f"10.0.{number >> 8}.{number & 255}")
    assert len(strangers._spent) == 4_096
    assert strangers.may_try("10.0.0.0")


class Socket(asyncio.BaseTransport):
    """A socket to one source."""

    def __init__(self, peer_name: object) -> None:
        super().__init__({"peername": peer_name})


async def _nothing(
    address: bytes, box: bytes, socket: object, *, is_limited: bool = False
) -> bytes | None:
    del address, box, socket, is_limited
    return None


def test_whoever_is_answered_at_an_invitation_is_counted_by_source() -> None:
    strangers = Strangers(2, Clock())
    door = FederationDoor(_nothing, strangers)
    for _ in range(2):
        assert strangers.may_try("192.0.2.1")
        door.note_asked(Socket(("192.0.2.1", 4_711)))
    assert not strangers.may_try("192.0.2.1")
    for nowhere in (None, Socket(""), Socket(None)):
        door.note_asked(nowhere)
    assert strangers.may_try("192.0.2.2")
