"""Identities: what proves itself, what chains, and what must never pass."""

import copy
from pathlib import Path
from typing import Any

import pytest

from federation import fingerprints, identity, own_identity
from federation.identity import BadIdentity
from federation.own_identity import OwnIdentity
from homeserver import errors
from homeserver.keyring import Keyring
from homeserver.matrix.identifiers import ServerName
from homeserver.ports import SystemEntropy

NOW = 1_700_000_000_000
ENTROPY = SystemEntropy()


def make(name: str | None = None) -> tuple[OwnIdentity, str]:
    return own_identity.create(ENTROPY, NOW, ServerName(name) if name else None)


def test_a_name_is_made_of_the_key() -> None:
    own, _ = make()
    assert len(own.node_id) == 52
    assert own.server_name == f"{own.node_id}.p2p.alt"
    assert identity.has_p2p_name(own.identity)
    assert identity.verify_proof(own.proof) == own.identity


def test_a_dns_name_does_not_prove_itself() -> None:
    own, _ = make("bob.example")
    assert own.server_name == "bob.example"
    assert not identity.has_p2p_name(own.identity)


def test_another_nodes_p2p_name_is_refused() -> None:
    victim, _ = make()
    with pytest.raises(BadIdentity):
        make(victim.server_name)


def test_a_card_of_another_key_is_refused() -> None:
    own, other = make()[0], make()[0]
    with pytest.raises(BadIdentity):
        identity.verify_proof(own.proof | {"card": other.proof["card"]})


@pytest.mark.parametrize("part", ["inception", "card", "successions"])
def test_a_proof_with_a_part_missing_or_wrong_is_refused(part: str) -> None:
    own, _ = make()
    wrongs: list[Any] = [None, 7, "!!", [], {}, {"body": "", "signature": ""}, [{}], [[]], ["x"]]
    for wrong in wrongs:
        proof = copy.deepcopy(own.proof)
        proof[part] = wrong
        if part == "successions" and wrong == []:
            continue
        with pytest.raises(BadIdentity):
            identity.verify_proof(proof)
    with pytest.raises(BadIdentity):
        identity.verify_proof("no proof")


def test_a_signature_for_one_purpose_is_none_for_another() -> None:
    own, _ = make()
    document: dict[str, Any] = {"any": "thing"}
    contexts = [
        identity.CARD,
        identity.SUCCESSION,
        identity.REQUEST,
        identity.ACCEPT,
        identity.KEYS,
        identity.OPENED,
    ]
    for signed_for in contexts:
        signed = own.sign(signed_for, document)
        for checked_for in contexts:
            if checked_for == signed_for:
                assert identity.verify(identity.card_key(own.identity), checked_for, signed)
            else:
                with pytest.raises(BadIdentity):
                    identity.verify(identity.card_key(own.identity), checked_for, signed)


def test_a_matrix_signature_passes_as_nothing_else() -> None:
    own, _ = make()
    body = b'{"node_id":"x"}'
    signed = {
        "body": identity.to_text(body),
        "signature": identity.to_text(own.event_key.sign(body)),
    }
    with pytest.raises(BadIdentity):
        identity.verify(identity.card_key(own.identity), identity.REQUEST, signed)


def test_a_renewed_event_key_chains_and_the_one_before_counts_for_its_time() -> None:
    own, _ = make()
    (before,) = own.identity.card.keys
    renewed = own_identity.renew_event_key(own, ENTROPY, NOW + 5)
    assert identity.may_replace(own.identity, renewed.identity)
    assert not identity.may_replace(renewed.identity, own.identity)
    card = renewed.identity.card
    assert before not in card.keys
    assert card.key_at(before, NOW + 5) == own.identity.card.keys[before]
    assert card.key_at(before, NOW + 6) is None
    assert card.key_at("ed25519:never", NOW) is None
    (present,) = card.keys
    assert card.key_at(present, NOW) == card.keys[present]


def test_one_sequence_has_one_content() -> None:
    own, _ = make()
    one = own_identity.renew_event_key(own, ENTROPY, NOW)
    two = own_identity.renew_event_key(own, ENTROPY, NOW)
    assert not identity.may_replace(one.identity, two.identity)
    assert identity.may_replace(one.identity, one.identity)


def test_after_a_succession_the_key_before_signs_nothing_that_counts() -> None:
    own, phrase = make()
    succeeded, next_phrase = own_identity.succeed(own, phrase, ENTROPY)
    assert succeeded.node_id == own.node_id
    assert identity.may_replace(own.identity, succeeded.identity)
    thief = own_identity.renew_event_key(own_identity.renew_event_key(own, ENTROPY, 1), ENTROPY, 2)
    assert thief.identity.card.sequence > succeeded.identity.card.sequence
    assert not identity.may_replace(succeeded.identity, thief.identity)
    assert identity.may_replace(thief.identity, succeeded.identity)
    with pytest.raises(own_identity.WrongPhrase):
        own_identity.succeed(succeeded, phrase, ENTROPY)
    twice, _ = own_identity.succeed(succeeded, next_phrase, ENTROPY)
    assert identity.may_replace(own.identity, twice.identity)
    assert twice.identity.successions == 2


def test_a_mistyped_phrase_says_where() -> None:
    own, phrase = make()
    groups = phrase.split()
    told: list[str] = []
    for letter in set("abcdefghijklmnopqrstuvwxyz234567") - {groups[3][0]}:
        mistyped = [*groups[:3], letter + groups[3][1:], *groups[4:]]
        with pytest.raises((fingerprints.MistypedGroup, own_identity.WrongPhrase)) as refused:
            own_identity.succeed(own, " ".join(mistyped), ENTROPY)
        told.append(str(refused.value))
    # The check letter of a group misses one mistake of thirty-two.
    assert sum("Group 4" in one for one in told) >= 25


def test_another_servers_phrase_is_refused() -> None:
    own, other_phrase = make()[0], make()[1]
    with pytest.raises(own_identity.WrongPhrase):
        own_identity.succeed(own, other_phrase, ENTROPY)


def test_an_identity_survives_on_disk_and_opens_with_its_keyring_only(tmp_path: Path) -> None:
    own, phrase = make()
    keyring = Keyring(b"k" * 32)
    assert not own_identity.exists(tmp_path)
    own_identity.save(own, tmp_path, keyring)
    assert own_identity.exists(tmp_path)
    assert own_identity.load(tmp_path, keyring) == own
    with pytest.raises(errors.HomeserverError):
        own_identity.load(tmp_path, Keyring(b"j" * 32))
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert phrase.encode() not in on_disk
    assert own.root_seed not in on_disk


def test_words_are_equal_only_for_equal_things() -> None:
    assert fingerprints.words(b"a", b"b") == fingerprints.words(b"a", b"b")
    assert fingerprints.words(b"ab", b"") != fingerprints.words(b"a", b"b")
    assert len(fingerprints.words(b"a").split()) == 4


def test_base32_has_one_spelling() -> None:
    assert fingerprints.decode_base32(fingerprints.encode_base32(b"\x00\xff" * 16)) == (
        b"\x00\xff" * 16
    )
    for wrong in ("A", "ab1", "AAAA", "ab======"):
        with pytest.raises(errors.InvalidParam):
            fingerprints.decode_base32(wrong)
