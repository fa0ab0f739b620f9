"""Somebody in the middle who has seen the invitation link, and so the key of its intake.

He opens REQUEST and ACCEPT, rewrites what they say and seals them again; of PROVE and READY, which
go to addresses that stand inside Olm, he can only change bytes.
"""

import base64
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

from federation import envelope, identity, invitation_links
from federation.envelope import Envelope
from federation.own_identity import OwnIdentity
from homeserver.testing.network import Network, Parcel

Message = Literal["REQUEST", "ACCEPT", "PROVE", "READY"]
Document = dict[str, Any]
Change = Callable[[Envelope], Envelope]


@dataclass(frozen=True, slots=True)
class Substitution:
    """What he puts in the place of what: a message, a name for tests, the change."""

    message: Message
    what: str
    change: Change

    def __str__(self) -> str:
        return f"{self.message}: {self.what}"


class MiddleMan:
    """Rewrites one handshake over and over, as one substitution says, until `leave`."""

    def __init__(self, network: Network, link: str, substitution: Substitution) -> None:
        read = invitation_links.read(link)
        self._keys = envelope.door_keys(read.door_key)
        self._intake = bytes.fromhex(read.intake)
        self._substitution = substitution
        self._network = network
        self.changed = 0
        network.tampers.append(self._take)

    def leave(self) -> None:
        """Let everything pass again."""
        self._network.tampers.remove(self._take)

    def _take(self, parcel: Parcel) -> bytes | None:
        if parcel.address != self._intake:
            wanted = "PROVE" if parcel.kind == "request" else "READY"
            return self._damage(parcel.box) if wanted == self._substitution.message else parcel.box
        key = self._keys.request if parcel.kind == "request" else self._keys.answer
        if (parcel.kind == "request") != (self._substitution.message == "REQUEST"):
            return parcel.box
        if self._substitution.message not in ("REQUEST", "ACCEPT"):
            return parcel.box
        self.changed += 1
        changed = self._substitution.change(envelope.open_box(key, parcel.box))
        return envelope.seal(key, envelope.nonce_of(parcel.box), changed)

    def _damage(self, box: bytes) -> bytes:
        self.changed += 1
        return bytes([*box[:-1], box[-1] ^ 1])


def every_substitution(mallory: OwnIdentity, sample: dict[Message, bytes]) -> list[Substitution]:
    """Each key, card, address and part of each message in turn.

    `sample` holds a note of an honest REQUEST and ACCEPT: their shape says what there is to change.
    """
    found = []
    for message in ("REQUEST", "ACCEPT"):
        document = _document(sample[message])
        for path in _leaves(document):
            name = "/".join(map(str, path))
            found.append(Substitution(message, f"{name} changed", _changing(path, None)))
            found.append(Substitution(message, f"{name} signed anew", _changing(path, mallory)))
        found.append(Substitution(message, "another's whole identity", _impersonating(mallory)))
    found.append(Substitution("ACCEPT", "the Olm message", _damage_olm))
    found.append(Substitution("PROVE", "its bytes", lambda content: content))
    found.append(Substitution("READY", "its bytes", lambda content: content))
    return found


def _document(note: bytes) -> Document:
    read: Document = orjson.loads(_decode(orjson.loads(note)["signed"]["body"]))
    return read


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _leaves(part, (*path, key))
    else:
        yield path


def _changing(path: tuple[str, ...], signer: OwnIdentity | None) -> Change:
    def change(content: Envelope) -> Envelope:
        document = copy.deepcopy(_document(content.note))
        place = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = _other(place[path[-1]])
        return _with(content, document, signer)

    return change


def _impersonating(mallory: OwnIdentity) -> Change:
    def change(content: Envelope) -> Envelope:
        document = _document(content.note) | {"identity": mallory.proof}
        return _with(content, document, mallory)

    return change


def _with(content: Envelope, document: Document, signer: OwnIdentity | None) -> Envelope:
    note = orjson.loads(content.note)
    if signer is None:
        note["signed"]["body"] = identity.to_text(
            orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
        )
    else:
        context = identity.REQUEST if note["kind"] == "request" else identity.ACCEPT
        note["signed"] = signer.sign(context, document)
    return replace(content, note=orjson.dumps(note))


def _other(value: Any) -> Any:
    """Something of the same kind that is not the same."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return ("B" if value[:1] == "A" else "A") + value[1:]
    return (
        {"messages": False} if isinstance(value, dict) else [*value, {"body": "", "signature": ""}]
    )


def _damage_olm(content: Envelope) -> Envelope:
    return replace(content, olm=bytes([*content.olm[:-1], content.olm[-1] ^ 1]))


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))
