"""A conversation between two servers, either of which is killed again and again.

Each round starts a burst of messages on both sides, kills one server while at least
`IN_FLIGHT` of them are unacknowledged on each side, and starts it again; every other round kills
once more while the two catch up. A sender repeats what was not acknowledged under the same
transaction ID, as clients do.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp

from homeserver.testing.client import Client, Refused
from homeserver.testing.processes import Server
from tests.end_to_end import story

BURST = 90
IN_FLIGHT = 50
SERVER_ERROR = 500
SETTLED_AFTER_S = 120.0


@dataclass(slots=True)
class Side:
    """One of the two, and which event each acknowledged text became."""

    server: Server
    client: Client
    acknowledged: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Damage:
    """What went wrong in the end; nothing should have."""

    lost: Sequence[str]
    doubled: Sequence[str]
    out_of_order: Sequence[str]


NONE = Damage((), (), ())


async def converse_through_kills(
    sides: tuple[Side, Side], room_id: str, seed: int, kills: int
) -> Damage:
    """Run `kills` rounds, let everything arrive, and compare what both servers have."""
    chance = random.Random(seed)
    for number in range(kills):
        await _round(sides, room_id, number, chance)
    return await _settle(sides, room_id)


@dataclass(slots=True)
class _Killer:
    """Kills one server the moment so many of a round's messages are acknowledged."""

    victim: Server
    after: int
    struck: asyncio.Event = field(default_factory=asyncio.Event)

    def count(self) -> None:
        self.after -= 1
        if self.after == 0:
            self.victim.kill()
            self.struck.set()


async def _round(
    sides: tuple[Side, Side], room_id: str, number: int, chance: random.Random
) -> None:
    killer = _Killer(chance.choice(sides).server, chance.randint(1, BURST - IN_FLIGHT))
    sending = [
        asyncio.create_task(
            _send_until_acknowledged(side, room_id, f"{number:03}-{one:03}", killer)
        )
        for one in range(BURST)
        for side in sides
    ]
    await killer.struck.wait()
    await asyncio.sleep(chance.uniform(0, 0.2))
    await asyncio.to_thread(killer.victim.start)
    if number % 2:
        await asyncio.sleep(chance.uniform(0, 0.5))
        again = chance.choice(sides).server
        again.kill()
        await asyncio.to_thread(again.start)
    await asyncio.gather(*sending)


async def _send_until_acknowledged(side: Side, room_id: str, text: str, killer: _Killer) -> None:
    while True:
        try:
            side.acknowledged[text] = await side.client.send_text(room_id, text, text)
        except aiohttp.ClientError:
            await asyncio.sleep(0.05)
        except Refused as refusal:
            if refusal.status < SERVER_ERROR:
                raise
            await asyncio.sleep(0.05)
        else:
            killer.count()
            return


async def _settle(sides: tuple[Side, Side], room_id: str) -> Damage:
    """Wait until each server has what the other's owner said, then look closely."""

    async def agree() -> bool:
        for side, other in (sides, sides[::-1]):
            sender = side.client.user_id
            own = await story.messages(side.client, room_id, sender)
            if own != await story.messages(other.client, room_id, sender):
                return False
        return True

    with contextlib.suppress(AssertionError):  # the comparison below says what differs
        await story.until(agree, "both servers have the same", SETTLED_AFTER_S)
    damages = [await _compare(side, other, room_id) for side, other in (sides, sides[::-1])]
    return Damage(
        *(
            tuple(text for damage in damages for text in getattr(damage, kind))
            for kind in ("lost", "doubled", "out_of_order")
        )
    )


async def _compare(side: Side, other: Side, room_id: str) -> Damage:
    sender = side.client.user_id
    own = await story.messages(side.client, room_id, sender)
    arrived = await story.messages(other.client, room_id, sender)
    texts = [text for _, text in arrived]
    rounds = [text[:3] for text in texts]
    lost = [
        text
        for text, event_id in side.acknowledged.items()
        if (event_id, text) not in own or (event_id, text) not in arrived
    ]
    doubled = [text for text in set(texts) if texts.count(text) > 1]
    is_in_order = arrived == own and rounds == sorted(rounds)
    return Damage(lost, doubled, [] if is_in_order else [f"{sender}: {len(arrived)}/{len(own)}"])
