"""Frames, notes and links of any bytes are read or refused, and nothing else ever happens.

What once did something else, or might, is kept in `corpus` and tried every time.
"""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from federation import frames, group_frames, invitation_links
from federation import handshake_messages as messages
from federation.invitation_links import BadLink, Link
from homeserver import errors
from homeserver.matrix import canonical_json
from homeserver.matrix.identifiers import RoomId, ServerName

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.bin"))
NODE, INTAKE, ROOM = "a" * 52, "0" * 32, RoomId("!room")
LINK = Link(NODE, ServerName("a.example"), ("https://a.example",), INTAKE, b"s" * 32, 1)

READERS: dict[str, Callable[[bytes], object]] = {
    "frame": frames.read,
    "request": lambda raw: messages.read_request(raw, NODE, INTAKE),
    "note kind": messages.note_kind,
    "note intake": messages.note_intake,
    "inside": lambda raw: messages.read_inside(raw, NODE, 1),
    "group": lambda raw: group_frames.read_plaintext(raw, NODE, ROOM),
}


def read_or_refuse(name: str, raw: bytes) -> None:
    """Only a `HomeserverError` may come of it; pytest fails on anything else."""
    try:
        READERS[name](raw)
    except errors.HomeserverError as refused:
        assert refused.errcode.startswith("M_")  # noqa: PT017 - that it is refused is not needed


def test_there_is_a_corpus() -> None:
    assert len(CORPUS) > 15


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
def test_what_was_kept_is_read_or_refused(file: Path, name: str) -> None:
    read_or_refuse(name, file.read_bytes())


@pytest.mark.parametrize("name", READERS)
@given(raw=st.binary(max_size=600))
@example(raw=b"")
def test_any_bytes_are_read_or_refused(name: str, raw: bytes) -> None:
    read_or_refuse(name, raw)


@given(at=st.integers(0, 10_000), bits=st.integers(1, 255))
def test_a_link_that_is_altered_is_refused(at: int, bits: int) -> None:
    written = invitation_links.write(LINK)
    start = len(invitation_links.PREFIX)
    raw = bytearray(base64.urlsafe_b64decode(written[start:] + "=="))
    raw[at % len(raw)] ^= bits
    altered = invitation_links.PREFIX + base64.urlsafe_b64encode(raw).decode().rstrip("=")
    with pytest.raises(BadLink, match="damaged"):
        invitation_links.read(altered)


@given(at=st.integers(0, 10_000), junk=st.characters().filter(lambda one: not one.isspace()))
def test_a_link_with_something_else_in_between_is_refused(at: int, junk: str) -> None:
    written = invitation_links.write(LINK)
    place = len(invitation_links.PREFIX) + at % (len(written) - len(invitation_links.PREFIX))
    with pytest.raises(BadLink):
        invitation_links.read(written[:place] + junk + written[place:])


@given(length=st.integers(0, 400))
def test_a_link_that_is_cut_is_refused(length: int) -> None:
    written = invitation_links.write(LINK)
    if length < len(written):
        with pytest.raises(BadLink):
            invitation_links.read(written[:length])


@pytest.mark.parametrize("version", [0, 2, 99, "1", None, True])
def test_a_link_of_another_version_is_refused_with_what_to_do(version: object) -> None:
    with pytest.raises(BadLink, match="newer" if version in (2, 99) else "not an invitation"):
        invitation_links.read(changed(v=version))


@pytest.mark.parametrize(
    "name",
    [
        *("", "a b/c?d", "evil\u202emoc.live", "x" * 231, "B.example", "b\u043eb.example"),
        *("b" * 52 + ".p2p.alt", "a..example", 7, None),
    ],
)
def test_a_link_that_names_a_server_in_any_odd_way_is_refused(name: object) -> None:
    with pytest.raises(BadLink, match="not an invitation"):
        invitation_links.read(changed(s=name))


def changed(**fields: object) -> str:
    """The link with other content, undamaged."""
    behind = invitation_links.write(LINK).removeprefix(invitation_links.PREFIX)
    raw = base64.urlsafe_b64decode(behind + "=" * (-len(behind) % 4))
    content = canonical_json.decode(raw[:-4]) | fields
    return invitation_links.PREFIX + invitation_links.written(canonical_json.encode(content))
