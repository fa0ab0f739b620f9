"""What the owner reads in the Connections room. Values in, sentences out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from federation import shown_names
from federation.revoking import RevokeReport
from homeserver.matrix.canonical_json import JsonObject

YES, NO, NEVER = "\u2705", "\u274c", "\U0001f6ab"
_MOST_LISTED = 20
_STILL_INVITED = (
    "You may invite people, and not take them out again, so they still stand there as invited:"
)

_COMPARE = (
    "Compare these words with the ones on their screen, by voice: {words}. "
    "If they differ, somebody is in between."
)


def text_of(kind: str, content: JsonObject, known_names: Iterable[str] = ()) -> str:
    """A notice in sentences. Names from strangers are shown safely, with what is odd about them."""
    tell = _TEXTS.get(kind)
    if tell is None:
        return f"Something happened: {shown_names.safe(kind)}, {who(content)}."
    return tell(content, known_names)


def who(content: Mapping[str, Any]) -> str:
    """A peer by its own name, marked as such, and the server, which nobody else can have."""
    name, server = content.get("name"), shown_names.safe(str(content.get("server_name") or "?"))
    return f"{shown_names.quoted(name)} at {server}" if name else server


def _welcome(_content: JsonObject, _known: Iterable[str]) -> str:
    return (
        "This is where your server speaks with you: who asks to connect, and what became of it. "
        "Write `invite` for a link to send to somebody, `connect LINK` to open theirs, and `help` "
        "for the rest. Nobody else reads this room."
    )


def _request(content: JsonObject, known_names: Iterable[str]) -> str:
    lines = [
        f"{who(content)} asks to connect with you.",
        *shown_names.warnings(str(content.get("name") or ""), known_names),
        _COMPARE.format(words=content.get("words", "?")),
        f"Answer with a reaction: {YES} accept, {NO} decline, {NEVER} block.",
        "Until you do, nothing of theirs reaches you.",
    ]
    return "\n".join(lines)


def _connected(content: JsonObject, known_names: Iterable[str]) -> str:
    odd = shown_names.warnings(str(content.get("name") or ""), known_names)
    return "\n".join([f"You are connected with {who(content)}.", *odd])


def _warning(content: JsonObject, known_names: Iterable[str]) -> str:
    used_by = list(content.get("used_by", []))[:_MOST_LISTED]
    first = " and ".join(_with_words(one) for one in used_by) or "somebody"
    lines = [
        "An invitation of yours was used a second time, and may have come into wrong hands.",
        f"The first was {first}.",
        f"The second, who was refused, was {_with_words(content)}.",
        *shown_names.warnings(str(content.get("name") or ""), known_names),
    ]
    if used_by:
        lines.append(
            "If the first is the one you meant, go on with "
            f"{YES} if it is paused; {NO} ends that connection."
        )
    return "\n".join(lines)


def _with_words(content: Mapping[str, Any]) -> str:
    return f"{who(content)} (words: {content.get('words', '?')})"


def _alarm(content: JsonObject, _known: Iterable[str]) -> str:
    return (
        f"Alarm: traffic with {who(content)} is stopped, because {content.get('reason', '?')}. "
        f"Ask them by another way. {YES} goes on as before; {NO} ends the connection."
    )


def _paused(content: JsonObject, _known: Iterable[str]) -> str:
    return (
        f"What {who(content)} may do has ended, so the connection is paused. "
        f"{YES} resumes it, after `edit NAME expires_at=never`; {NO} ends it."
    )


def _revoke(content: JsonObject, _known: Iterable[str]) -> str:
    lines = [f"End the connection with {who(content)}? {YES} ends it. Then:"]
    return "\n".join([*lines, *map(str, content.get("report", ()))])


def told(report: RevokeReport) -> list[str]:
    """What a revoke does, in sentences."""
    rooms = [f"{shown_names.quoted(room.name)}: {room.what}" for room in report.rooms]
    return [
        *_first(rooms, "more rooms"),
        *report.deleted,
        *report.cannot_be_taken_back,
        *_first(report.can_pass_on, "more servers"),
    ]


def _first(lines: Sequence[str], of_what: str) -> list[str]:
    more = len(lines) - _MOST_LISTED
    return [*lines[:_MOST_LISTED], *([f"And {more} {of_what}."] if more > 0 else [])]


def _device(content: JsonObject, _known: Iterable[str]) -> str:
    name = shown_names.quoted(str(content.get("name") or content.get("device_id") or "?"))
    return (
        f"A new device logged in: {name} ({shown_names.safe(str(content.get('device_id')))}). "
        "If that was not you, remove it in your client and change your password."
    )


def _no_key(content: JsonObject, _known: Iterable[str]) -> str:
    why = (
        "all keys that were left here for such times are used up"
        if content.get("is_used_up")
        else "that server was away too long, and its keys that are left here are too old"
    )
    return (
        f"What you write now cannot be read on {_devices(content)} of {who(content)}: {why}. "
        "Write it again when they are back."
    )


def _unreadable(content: JsonObject, _known: Iterable[str]) -> str:
    return (
        f"{who(content)} is back, but {_devices(content)} had forgotten a key meanwhile. Some of "
        "what you wrote in between cannot be read there."
    )


def _inbox_full(content: JsonObject, _known: Iterable[str]) -> str:
    return (
        f"Your device {shown_names.safe(str(content.get('device_id')))} has fetched nothing for so "
        f"long that {content.get('waiting')} keys wait for it, and whoever sent them has to wait "
        "with everything else until it does. Remove it in your client if you do not use it any "
        "more."
    )


def _inbox_abandoned(content: JsonObject, _known: Iterable[str]) -> str:
    return (
        f"Nobody has used your device {shown_names.safe(str(content.get('device_id')))} for three "
        f"months. {content.get('lost')} keys sent to it were dropped to make room for later ones. "
        "Remove it in your client."
    )


def _devices(content: Mapping[str, Any]) -> str:
    named = ", ".join(shown_names.safe(str(one)) for one in list(content.get("devices", []))[:5])
    return f"the device {named}" if len(content.get("devices", [])) == 1 else f"devices {named}"


def _plain(sentence: str) -> Callable[[JsonObject, Iterable[str]], str]:
    return lambda content, _known: sentence.format(who=who(content))


def _newcomer(content: JsonObject, _known: Iterable[str]) -> str:
    return (
        f"Somebody of {who(content)}, a server that yours is not connected to, has come into "
        f"{_room(content)}. {YES} meets them in that room, {NO} keeps them away. Until you agree "
        "you see nothing of theirs, and they get nothing of yours from this server."
    )


def _room_request(content: JsonObject, _known: Iterable[str]) -> str:
    servers = ", ".join(shown_names.safe(str(one)) for one in list(content.get("servers", []))[:10])
    return (
        f"You want to enter {_room(content)}, in which there are people whose servers yours is "
        f"not connected to: {servers}. {YES} agrees to meet them in that room; your server then "
        f"enters it by itself. {NO} stays away."
    )


def _nobody_introduces(content: JsonObject, _known: Iterable[str]) -> str:
    return (
        f"You agreed to meet {who(content)} in {_room(content)}, and nobody may introduce you. "
        "Write `edit NAME introduce=on` for somebody in that room whom you both know, or connect "
        "with a link."
    )


def _introduced(content: JsonObject, _known: Iterable[str]) -> str:
    introducer = shown_names.safe(str(content.get("introducer") or "?"))
    called = shown_names.quoted(str(content.get("called") or ""))
    return (
        f"{introducer} introduces you to {who(content)}, whom you agreed to meet in "
        f"{_room(content)}. It calls them {called}; those are its words."
    )


def _invitations_over(content: JsonObject, _known: Iterable[str]) -> str:
    lines = [
        f"What you invited people of {who(content)} to, before there was a connection, is over."
    ]
    for key, what in (("taken", "They are taken out again of"), ("left", _STILL_INVITED)):
        names = [shown_names.quoted(str(one)) for one in content.get(key, [])]
        lines += [f"{what} {', '.join(_first(names, 'more rooms'))}."] if names else []
    return "\n".join(lines)


def _room(content: Mapping[str, Any]) -> str:
    return f"the room {shown_names.safe(str(content.get('room_id') or '?'))}"


_TEXTS: Mapping[str, Callable[[JsonObject, Iterable[str]], str]] = {
    "request": _request,
    "connected": _connected,
    "warning": _warning,
    "alarm": _alarm,
    "paused": _paused,
    "revoke": _revoke,
    "newcomer": _newcomer,
    "room_request": _room_request,
    "nobody_introduces": _nobody_introduces,
    "introduced": _introduced,
    "device": _device,
    "no_key": _no_key,
    "unreadable": _unreadable,
    "inbox_full": _inbox_full,
    "inbox_abandoned": _inbox_abandoned,
    "two_under_one_name": _plain(
        "Alarm: members of a room you are in disagree about who {who} is. Your server goes by what "
        "it was told first, so what it shows of that server's people may be somebody else's, or "
        "theirs may be missing. Connect with them by a link to be sure."
    ),
    "deposit_dropped": _plain(
        "Your devices and their keys are too many to tell {who} about. What they write to your "
        "newest devices cannot be read there. Remove devices that you do not use."
    ),
    "deposit_refused": _plain(
        "The keys that the server of {who} left here are wrong, and were not taken. What you write "
        "may not be readable on their newest devices."
    ),
    "invitations_over": _invitations_over,
    "expired": _plain("The connection with {who} did not come about in time."),
    "goodbye": _plain("{who} has ended the connection, and said so."),
    "keys_renewed": _plain("{who} has renewed its keys in the way that was agreed before."),
    "old_copy": _plain(
        "This server runs on an old copy of its data: {who} has seen more of it than it "
        "remembers. All keys were made anew. What it had taken or sent since that copy may be "
        "missing here, and what was sent and not yet delivered is lost."
    ),
    "missed": _plain(
        "{who} says that this server has taken messages that it does not remember, as if it ran "
        "on an old copy of its data. Ask them what you wrote to each other last."
    ),
    "peer_restored": _plain(
        "{who} runs on an old copy of its data. The keys between you were made anew; what you "
        "wrote to each other since that copy may be missing there."
    ),
    "repair_fails": _plain(
        "The keys with {who} have to be made anew, and their side does not answer in a way that "
        "can be trusted. Nothing new passes meanwhile. Ask them by another way; a new invitation "
        "link repairs the connection."
    ),
    "handshake_failed": _plain(
        "Somebody else answered in the place of {who}. Nothing was agreed with him; your request "
        "is repeated. Ask for a new link by another way if it lasts."
    ),
    "opened_again": _plain(
        "{who} has opened the link again that connected you. A link works once, so that was "
        "refused, and the connection is as it was. If it has ended on their side, invite them anew."
    ),
    "link_refused": _plain(
        "{who} refuses the link that you opened: it was used already, has expired or was "
        "withdrawn. Ask for another one, and write `cancel` with their server's name."
    ),
    "welcome": _welcome,
    "unfit_name": _plain(
        "{who} wanted to connect with you, under a name that holds hidden characters. Nothing was "
        "agreed. Ask them to choose another one."
    ),
    "invitation_expired": _plain(
        "An invitation of yours has ended, and nobody had used it. Whoever has the link needs a "
        "new one."
    ),
}
