"""Codes for a camera, and what another screen shows."""

import io
import xml.etree.ElementTree as ET

from PIL import Image

from federation import fingerprints, qr_codes

NODE = "abcd" * 13
WORDS = "lusab babad gutih tugad"


def test_a_code_is_a_picture_that_stands_alone() -> None:
    picture = ET.fromstring(qr_codes.svg("homeserver://connect#" + "x" * 700))
    assert picture.tag.endswith("svg")


def test_a_code_for_a_phone_is_a_picture_of_the_size_that_is_said() -> None:
    drawn, pixels = qr_codes.png("homeserver://connect#" + "x" * 700)
    with Image.open(io.BytesIO(drawn)) as picture:
        assert (picture.format, picture.size) == ("PNG", (pixels, pixels))


def test_a_code_for_a_terminal_is_as_wide_on_every_line() -> None:
    lines = qr_codes.drawn(qr_codes.node(NODE)).rstrip("\n").split("\n")
    assert len({len(line) for line in lines}) == 1


def test_a_node_is_known_by_its_code_its_groups_and_the_words() -> None:
    groups = fingerprints.in_groups(NODE)
    for said in (qr_codes.node(NODE), NODE, groups, groups.upper(), WORDS, f"  {WORDS} "):
        assert qr_codes.is_same(said, NODE, WORDS), said


def test_nothing_else_is_taken_for_it() -> None:
    other = NODE[:-1] + "e"
    for said in ("", qr_codes.node(other), other, NODE[:51], "lusab babad gutih", qr_codes.NODE):
        assert not qr_codes.is_same(said, NODE, WORDS), said
