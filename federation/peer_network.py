"""Ask peers on behalf of the core: implements `ports.PeerNetwork` with requests and the outbox."""

from federation import payloads
from federation.introductions.entrance import Entrance
from federation.outbox import Outbox
from federation.replication import bodies, fetching, media_parts
from federation.replication.cards import Cards
from federation.replication.entering import Entering
from federation.requests import Requests
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId, ServerName
from homeserver.ports import PeerFile
from homeserver.storage import meetings, peers
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import View

_LET_IN = frozenset({"make_join", "make_knock"})


class Questions:
    """`Requests.ask` in the two forms that replication wants."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def ask(
        self, peer: ServerName, operation: str, body: JsonObject, timeout_s: float = 20.0
    ) -> JsonObject:
        """The body of the answer."""
        return (await self._requests.ask(peer, operation, body, timeout_s)).body

    async def ask_for_bytes(
        self, peer: ServerName, operation: str, body: JsonObject, timeout_s: float = 20.0
    ) -> tuple[JsonObject, bytes]:
        """The body of the answer and the bytes attached to it."""
        reply = await self._requests.ask(peer, operation, body, timeout_s)
        return reply.body, reply.attachment


class ConnectedPeers:
    """The peers, as the core sees them."""

    def __init__(
        self,
        database: Database,
        requests: Requests,
        outbox: Outbox,
        cards: Cards,
        entering: Entering,
        entrance: Entrance,
    ) -> None:
        self._database = database
        self._requests = requests
        self._questions = Questions(requests)
        self._outbox = outbox
        self._cards = cards
        self._entering = entering
        self._entrance = entrance

    def is_awake(self, peer: ServerName) -> bool:
        """Whether the peer was heard from so recently that asking is likely to be quick."""
        return self._requests.is_awake(peer)

    async def ask(
        self, peer: ServerName, operation: str, body: JsonObject, timeout_s: float = 20.0
    ) -> JsonObject:
        """Ask, and see to what belongs to joining: cards, strangers, a state in several pages."""
        self._database.read(lambda view: _check_scope(view, peer, operation, body))
        if operation == "send_join":
            return await self._join(peer, body, timeout_s)
        answer = await self._questions.ask(peer, operation, body, timeout_s)
        if operation in _LET_IN:
            present = bodies.texts(answer, "servers_in_room")
            room_id, membership = RoomId(body["room_id"]), operation.removeprefix("make_")
            await self._entrance.check(peer, room_id, membership, present)
        return answer

    async def fetch_media(self, peer: ServerName, media_id: str) -> PeerFile:
        """Fetch a file that the peer's owner uploaded, no larger than its grant allows."""
        known = self._database.read(lambda view: peers.find_peer(view, peer))
        if known is None or not known.may("media"):
            raise errors.PeerRefused("Files of that server are not fetched.")
        most = known.grants["media_max_bytes"]
        file = await media_parts.fetch(self._questions.ask_for_bytes, peer, media_id, most)
        if file.size > most:
            raise errors.PeerFileTooLarge
        return file

    def tell_now(self, peer: ServerName, edu: JsonObject) -> None:
        """Send something that is worthless later: dropped when it cannot go at once."""
        content = edu["content"]
        key = f"{edu['edu_type']}:{content.get('room_id')}:{content.get('user_id')}"
        self._outbox.tell_now(peer, key, edu)

    async def _join(self, peer: ServerName, body: JsonObject, timeout_s: float) -> JsonObject:
        room_id = RoomId(body["room_id"])
        self._entering.begin(room_id)
        try:
            first = await self._questions.ask(peer, "send_join", body, timeout_s)
            await self._cards.take_in(bodies.listed(first, "cards"))
            event_id = EventId(body["event_id"])
            answer = await fetching.complete_join(
                self._questions.ask, peer, room_id, event_id, first
            )
        except BaseException:
            self._entering.answered(room_id, is_let_in=False)
            raise
        self._entering.answered(room_id, is_let_in=True)
        return answer


def _check_scope(view: View, peer: ServerName, operation: str, body: JsonObject) -> None:
    """Whom we met in a room only hears nothing from us that is about anything else."""
    known = peers.find_peer(view, peer)
    if known is None or known.room_id is None:
        return
    room_id = body.get("room_id")
    is_about_another = room_id is not None and not meetings.is_carried(view, room_id, peer)
    if is_about_another or operation in payloads.BEYOND_ROOMS:
        raise errors.NotConnected("Your server is connected to that one for shared rooms only.")
