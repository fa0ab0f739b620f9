"""Do what the owner ordered in the Connections room, by the same verbs as every other way."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from federation import editing, grant_words, qr_codes, shown_names
from federation.connections_room import strangers_words, telling
from federation.connections_room.answers import Answer, Picture
from federation.connections_room.orders import Order
from federation.connections_room.strangers_words import STRANGERS
from federation.introductions.strangers import Strangers
from federation.overview import Overview
from federation.peers import Peers
from federation.sentences import STANDINGS
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.media import Media
from homeserver.ports import Clock
from homeserver.storage import audit, notices
from homeserver.storage.database import Database
from homeserver.storage.notices import Notice
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import View

HOW = "Connections room"
_MOST_LISTED = 50
_YES = frozenset({telling.YES, "\u2714", "\u2611", "\U0001f44d", "\U0001f197"})
_NO = frozenset({telling.NO, "\u2716", "\U0001f44e"})
_FLAGS = {"ask": "asks_owner", "scanned": "scanned", "knock": "knock"}

_LINKS: Mapping[str, str] = {
    "link": "Send this link privately: whoever opens it first is connected with you. It works "
    "once.",
    "scanned": "Let the one person who stands before you scan the picture from your screen. It "
    "works once. As a link, which nobody else may see:",
    "knock": "Whoever opens this link asks to connect; you are asked each time.",
}

HELP = """\
invite [ask] [scanned] [knock] [for=NODE] [grants=SET]: a link that connects one person, once
  (scanned: as a picture too, for a camera that looks at your screen)
connect LINK [grants=SET]: say yes to somebody's link
invitations: your links and what became of them; withdraw ID: make one void
list: your connections; show NAME: one of them, with the words to compare
accept NAME, decline NAME: answer a request; cancel NAME: take your yes back
edit NAME media=0 presence=on expires_at=2026-12-31 [grants=SET]: what they may do
pause NAME, resume NAME, pause all, resume all
revoke NAME: end a connection for good; block NAME, unblock NAME
dismiss NAME: go on after an alarm
strangers: who is in rooms and not connected; meet ROOM [SERVER], avoid ROOM [SERVER]
NAME is a server name, a node id, a user ID or their own name."""

Said = str | Answer
Verb = Callable[[Peers, ServerName], Awaitable[object]]
_VERBS: Mapping[str, tuple[Verb, str]] = {
    "accept": (lambda owner, peer: owner.accept(peer, HOW), "accepted; their side finishes it."),
    "decline": (lambda owner, peer: owner.decline(peer, HOW), "declined."),
    "cancel": (lambda owner, peer: owner.cancel(peer, HOW), "your yes is taken back."),
    "pause": (lambda owner, peer: owner.pause(peer, how=HOW), "paused; nothing is lost."),
    "resume": (lambda owner, peer: owner.resume(peer, HOW), "resumed."),
    "block": (lambda owner, peer: owner.block(peer, HOW), "blocked."),
    "unblock": (lambda owner, peer: owner.unblock(peer, HOW), "unblocked."),
    "dismiss": (lambda owner, peer: owner.dismiss_alarm(peer, HOW), "the alarm is dismissed."),
}
# What a reaction to a notice means, by its kind: yes, no, never.
_REACTIONS: Mapping[str, Mapping[str, str]] = {
    "request": {"yes": "accept", "no": "decline", "never": "block"},
    "warning": {"yes": "resume", "no": "revoke"},
    "alarm": {"yes": "dismiss", "no": "revoke"},
    "paused": {"yes": "resume", "no": "revoke"},
    "revoke": {"yes": "revoke now"},
}


@dataclass(frozen=True, slots=True)
class Owners:
    """The verbs and views that orders are about."""

    peers: Peers
    overview: Overview
    strangers: Strangers
    media: Media


class Obeying:
    """Carries orders out; each gives a sentence, or None where a notice says the rest."""

    def __init__(self, database: Database, clock: Clock, owners: Owners) -> None:
        self._database = database
        self._clock = clock
        self._peers = owners.peers
        self._overview = owners.overview
        self._strangers = owners.strangers
        self._media = owners.media

    async def obey(self, order: Order) -> Answer | None:
        """Do it, or say in a sentence why not. Never raises what the owner can cause."""
        try:
            said = await self._carry_out(order)
        except errors.HomeserverError as error:
            said = str(error)
        return Answer(said) if isinstance(said, str) else said

    async def _carry_out(self, order: Order) -> Said | None:
        if order.reacts_to is not None:
            return await self._react(order)
        return await self._command(*order.words) if order.words else None

    async def _command(self, verb: str, *words: str) -> Said | None:
        if verb in _VERBS or verb == "revoke":
            if words == ("all",) and verb in ("pause", "resume"):
                return await self._everything(is_paused=verb == "pause")
            if not words:
                return f"Say whom: {verb} NAME."
            return await self._take(verb, self._peers.resolve(" ".join(words)))
        command = _COMMANDS.get(verb)
        if command is None:
            return f"I do not know {shown_names.safe(verb)}. Write help for what I know."
        return await command(self, words)

    async def _take(self, verb: str, peer: Peer) -> str | None:
        if verb == "revoke":
            await self._ask_to_revoke(peer)
            return None
        if verb == "revoke now":
            report = await self._peers.revoke(peer.server_name, HOW)
            return "\n".join([f"{called(peer)}: the connection has ended.", *telling.told(report)])
        step, done = _VERBS[verb]
        await step(self._peers, peer.server_name)
        return f"{called(peer)}: {done}"

    async def _react(self, order: Order) -> str | None:
        answered = order.reacts_to
        assert answered is not None  # noqa: S101 - asked by the caller
        notice = self._database.read(lambda view: notices.find_by_event(view, answered))
        if notice is None:
            return None
        if notice.kind in STRANGERS:
            return await strangers_words.react(self._strangers, notice, _meaning(order.reaction))
        verb = _REACTIONS.get(notice.kind, {}).get(_meaning(order.reaction))
        peer = self._meant(notice) if verb is not None else None
        if verb is None or peer is None:
            return None
        if not self._database.read(lambda view: _is_open(view, notice, peer)):
            return f"That question is over; write {verb.partition(' ')[0]} {peer.server_name}."
        return await self._take(verb, peer)

    def _meant(self, notice: Notice) -> Peer | None:
        """Whom a notice is about: of a link used twice the first, who is connected."""
        if notice.kind == "warning":
            used_by = notice.content.get("used_by", [])
            return self._peers.resolve(used_by[0]["server_name"]) if len(used_by) == 1 else None
        return self._peers.resolve(notice.node_id)

    async def _ask_to_revoke(self, peer: Peer) -> None:
        content: JsonObject = {
            "server_name": peer.server_name,
            "name": peer.name,
            "report": telling.told(self._peers.preview_end(peer.server_name)),
        }
        now = self._clock.now_ms()
        await self._database.write(
            lambda work: notices.tell_owner(work, now, "revoke", peer.node_id, content)
        )

    async def _everything(self, *, is_paused: bool) -> str:
        await self._peers.pause_everything(is_paused=is_paused, how=HOW)
        if is_paused:
            return "Everything is paused, with everybody; `resume all` ends that."
        return "Resumed; who was paused singly stays so."

    async def strangers(self, _words: Sequence[str]) -> str:
        """Who is in rooms without being connected."""
        return strangers_words.listed(self._strangers)

    async def meet(self, words: Sequence[str]) -> str:
        """Agree to strangers of a room."""
        return await strangers_words.say(self._strangers, words, is_yes=True)

    async def avoid(self, words: Sequence[str]) -> str:
        """Keep away from strangers of a room."""
        return await strangers_words.say(self._strangers, words, is_yes=False)

    async def help(self, _words: Sequence[str]) -> str:
        """What can be ordered."""
        return HELP

    async def list(self, _words: Sequence[str]) -> str:
        """Every connection, a line each."""
        known = self._peers.load_all()
        lines = [f"{called(peer)}: {peer.standing}" for peer in known[:_MOST_LISTED]]
        if len(known) > _MOST_LISTED:
            lines.append(f"and {len(known) - _MOST_LISTED} more")
        if self._overview.status()["everything_paused"]:
            lines.insert(0, "Everything is paused.")
        return "\n".join(lines) or "You have no connections yet. `invite` makes a link."

    async def show(self, words: Sequence[str]) -> str:
        """One connection, explained."""
        peer = self._peers.resolve(" ".join(words))
        shown = self._overview.peer(peer)
        may = ", ".join(f"{name} {value}" for name, value in shown["grants_given"].items() if value)
        return "\n".join(
            [
                f"{called(peer)}: {shown['meaning'] or STANDINGS[peer.standing]}",
                f"Node id: {peer.node_id}",
                f"Words to compare: {shown['words']}",
                f"They may: {may or 'nothing'}",
            ]
        )

    async def invite(self, words: Sequence[str]) -> Said:
        """A new link."""
        options, flags = _options(words, ("for", "grants"))
        unknown = flags - set(_FLAGS)
        if unknown:
            raise errors.InvalidParam(f"invite does not know {shown_names.safe(min(unknown))}.")
        how = "knock" if "knock" in flags else "scanned" if "scanned" in flags else "link"
        issued = await self._peers.invite(
            how,
            asks_owner="ask" in flags,
            expected=options.get("for"),
            grant_set=options.get("grants"),
            way=HOW,
        )
        picture = await self._drawn(issued.link) if how == "scanned" else None
        return Answer(f"{_LINKS[how]}\n{issued.link}", picture)

    async def _drawn(self, link: str) -> Picture:
        """A link as a picture for the screen that somebody else's camera looks at.

        It says no more than the words beside it, and is worth as little once the link is used.
        """
        drawn, pixels = qr_codes.png(link)

        async def parts() -> AsyncIterator[bytes]:
            yield drawn

        uri = await self._media.upload(parts(), "image/png", "invitation.png")
        return Picture(str(uri), len(drawn), pixels)

    async def invitations(self, _words: Sequence[str]) -> str:
        """What became of the links."""
        lines = [
            f"{one['id']}: {one['state']}, {one['how']}, {one['expected'] or 'for anybody'}"
            for one in self._overview.invitations()[-_MOST_LISTED:]
        ]
        return "\n".join(lines) or "You have made no link yet. `invite` makes one."

    async def withdraw(self, words: Sequence[str]) -> str:
        """Make a link void."""
        if len(words) != 1:
            return "Say which: withdraw ID. `invitations` lists them."
        await self._peers.withdraw(words[0], HOW)
        return "Withdrawn; its link connects nobody any more."

    async def connect(self, words: Sequence[str]) -> str:
        """Open somebody's link."""
        options, links = _options(words, ("grants",))
        if len(links) != 1:
            return "Say which: connect LINK."
        server = await self._peers.connect(links.pop(), "link", options.get("grants"), HOW)
        shown = shown_names.safe(server)
        return f"You said yes to {shown}; you will be told when the connection stands."

    async def edit(self, words: Sequence[str]) -> str:
        """Other grants."""
        first = next((at for at, word in enumerate(words) if "=" in word), len(words))
        if not words[:first] or first == len(words):
            return "Say whom and what: edit NAME media=0 presence=on."
        peer = self._peers.resolve(" ".join(words[:first]))
        options, _ = _options(words[first:], ("grants",))
        rest = [word for word in words[first:] if not word.startswith("grants=")]
        changes: JsonObject = {}
        if rest or not options:
            changes = grant_words.read(rest, self._clock.now_ms())
        await self._peers.edit_grants(peer.server_name, changes, HOW, options.get("grants"))
        return f"{called(peer)}: changed, from the next word on."


_COMMANDS: Mapping[str, Callable[[Obeying, Sequence[str]], Awaitable[Said]]] = {
    "help": Obeying.help,
    "list": Obeying.list,
    "show": Obeying.show,
    "invite": Obeying.invite,
    "invitations": Obeying.invitations,
    "withdraw": Obeying.withdraw,
    "connect": Obeying.connect,
    "edit": Obeying.edit,
    "strangers": Obeying.strangers,
    "meet": Obeying.meet,
    "avoid": Obeying.avoid,
}


def called(peer: Peer) -> str:
    """A peer as the owner reads of it."""
    return telling.who({"name": peer.name, "server_name": peer.server_name})


def _is_open(view: View, notice: Notice, peer: Peer) -> bool:
    """Whether a question is the newest of its kind, and the owner has decided nothing since.

    Other grants are no decision: a connection that has ended in time is resumed after that edit.
    """
    newest = notices.find_newest(view, notice.kind, notice.node_id)
    decided_at = audit.last_decision_at(view, peer.node_id, editing.STEP)
    is_newest = newest is not None and newest.number == notice.number
    return is_newest and (decided_at is None or decided_at <= notice.at)


def _meaning(reaction: str) -> str:
    if reaction in _YES:
        return "yes"
    if reaction in _NO:
        return "no"
    return "never" if reaction == telling.NEVER else ""


def _options(words: Sequence[str], names: Sequence[str]) -> tuple[dict[str, str], set[str]]:
    """`name=value` of some names, and the other words."""
    pairs = [word.partition("=") for word in words]
    options = {name: value for name, found, value in pairs if found and name in names}
    return options, {word for word in words if word.partition("=")[0] not in options}
