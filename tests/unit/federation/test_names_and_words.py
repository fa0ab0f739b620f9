"""Names that strangers chose, names that the owner writes, and changes of grants in words."""

import contextlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation import fingerprints, grant_words, naming, shown_names
from homeserver import errors
from homeserver.matrix.identifiers import ServerName
from homeserver.storage.peers import Peer

NODE = "b" * 51 + "c"


def peer(server_name: str, node_id: str, name: str) -> Peer:
    return Peer(
        ServerName(server_name), node_id, "active", "none", name, {}, {}, {}, node_id, "link"
    )


BOB = peer(f"{NODE}.p2p.alt", NODE, "Bob")
BEA = peer("bea.example", "d" * 52, "Bea")
OTHER_BEA = peer("beatrice.example", "e" * 52, "Bea")


@pytest.mark.parametrize(
    "name",
    [
        BOB.server_name,
        NODE,
        fingerprints.in_groups(NODE),
        f"@bob:{BOB.server_name}",
        "Bob",
        "bob",
        " Bob ",
        NODE[:20],
    ],
)
def test_a_peer_is_found_by_whatever_names_it(name: str) -> None:
    assert naming.find([BOB, BEA, OTHER_BEA], name) is BOB


def test_a_name_that_fits_several_names_them() -> None:
    with pytest.raises(errors.Conflict, match=r"any of these: bea\.example, beatrice\.example"):
        naming.find([BOB, BEA, OTHER_BEA], "Bea")
    assert naming.find([BOB, BEA, OTHER_BEA], "beatrice.example") is OTHER_BEA


@pytest.mark.parametrize("name", ["Carol", "", "bbb", "@bob:elsewhere.example"])
def test_a_name_that_fits_nobody_is_told(name: str) -> None:
    with pytest.raises(errors.NotFound, match="There is no connection with"):
        naming.find([BOB, BEA], name)


@given(st.text(max_size=200))
def test_a_shown_name_holds_nothing_that_acts(name: str) -> None:
    shown = shown_names.safe(name)
    assert shown
    assert len(shown) <= shown_names.MOST_CHARACTERS
    assert "\n" not in shown
    assert all(unicodedata.category(char)[0] != "C" for char in shown)


def test_direction_marks_and_control_characters_are_taken_out_and_told() -> None:
    assert shown_names.safe("Bob\u202egnp.exe\x07\u200b") == "Bob gnp.exe"
    assert shown_names.safe("\u3164\u200f") == "(no name)"
    (warning,) = shown_names.warnings("Bob\u202e")
    assert "not shown" in warning
    assert shown_names.warnings("Jos\u00e9 \u5c71\u7530") == []


@pytest.mark.parametrize("name", ["B\u043eb", "BOB", "\uff22ob", "B\u00f6b", "B0b"])
def test_a_name_that_looks_like_somebodys_is_told(name: str) -> None:
    assert any("compare words" in one for one in shown_names.warnings(name, ["Bob", "Alice"]))


def test_mixed_alphabets_are_told() -> None:
    assert any("several alphabets" in one for one in shown_names.warnings("\u0410lice"))
    assert shown_names.warnings("\u0410\u043b\u0438\u0441\u0430") == []


def test_changes_are_read_as_people_write_them() -> None:
    words = ["media=25MiB", "typing=off", "profile=name", "rate=60", "expires_at=never", "note=a b"]
    assert grant_words.read(words, 0) == {
        "media_max_bytes": 25 << 20,
        "typing": False,
        "profile": "name",
        "rate": 60,
        "expires_at": None,
        "note": "a b",
    }


def test_a_day_counts_to_its_end() -> None:
    day = grant_words.read(["expires_at=2026-12-31"], 0)["expires_at"]
    morning = grant_words.read(["expires_at=2026-12-31T00:00"], 0)["expires_at"]
    assert day - morning == 86_400_000


@given(st.lists(st.text(max_size=40), max_size=3))
def test_any_words_are_read_or_refused(words: list[str]) -> None:
    with contextlib.suppress(errors.InvalidParam):
        assert grant_words.read(words, 0)
