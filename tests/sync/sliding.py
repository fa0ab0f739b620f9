"""A device that slides, in the form that clients speak today unless told otherwise."""

import asyncio
from typing import Any

import orjson

from api.client import sliding_sync
from homeserver.matrix.identifiers import DeviceId
from homeserver.ports import Requester
from homeserver.sync.sliding.service import SlidingSync
from tests import sliding_schema
from tests.sliding_schema import ACCEPTED, BEFORE
from tests.sync.alice import ALICE, Alice

ALL = {"all": {"ranges": [[0, 99]], "timeline_limit": 10, "required_state": []}}


def serve(alice: Alice) -> SlidingSync:
    """The service, as if the server had just begun."""
    return SlidingSync(alice.database, alice.notifier, alice.sources, alice.clock)


class Slider:
    """Comes back with the position it was given."""

    def __init__(
        self, alice: Alice, service: SlidingSync | None = None, *, is_stable: bool = False
    ) -> None:
        self.service = service or serve(alice)
        self.requester = Requester(ALICE, DeviceId("PHONE"))
        self.is_stable = is_stable
        self.pos: str | None = None

    async def slide(self, lists: Any = None, **body: Any) -> Any:
        """Ask once, and take the position over."""
        answer = await self.ask(lists, **body)
        self.pos = answer["pos"]
        return answer

    async def ask(self, lists: Any = None, **body: Any) -> Any:
        """Ask once, as if the answer were lost."""
        wanted = {"lists": ALL if lists is None else lists, "pos": self.pos} | body
        wanted.setdefault("set_presence", "offline")
        parsed = sliding_sync.SlidingBody.model_validate(wanted)
        request = sliding_sync.read(self.requester, parsed, is_stable=self.is_stable)
        answer = orjson.loads(await self.service.answer(self.requester, request))
        sliding_schema.check(ACCEPTED if self.is_stable else BEFORE, answer)
        return answer

    def wait(self, lists: Any = None, **body: Any) -> "asyncio.Task[Any]":
        """Ask with patience."""
        return asyncio.create_task(self.slide(lists, timeout=30_000, **body))


def windowed(*ranges: list[int], limit: int = 10, **more: Any) -> Any:
    """One list with these windows."""
    wish = {"ranges": list(ranges), "timeline_limit": limit, "required_state": []} | more
    return {"all": wish}


def said(room: Any) -> list[str]:
    """What was said in a room's timeline."""
    return [
        event["content"]["body"]
        for event in room.get("timeline", [])
        if event["type"] == "m.room.message"
    ]


def places(room: Any) -> set[tuple[str, str]]:
    """Which places of the state are told."""
    return {(event["type"], event["state_key"]) for event in room.get("required_state", [])}
