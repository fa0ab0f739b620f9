"""The master key on disk, and what is derived from it."""

import stat
from pathlib import Path

import pytest

from homeserver import keyring
from homeserver.keyring import Keyring, KeyringDamaged, KeyringLocked


def test_hkdf_is_rfc_5869() -> None:
    derived = keyring.hkdf(b"\x0b" * 22, bytes(range(0xF0, 0xFA)), salt=bytes(range(13)))
    assert derived.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"


def test_every_purpose_and_row_has_a_key_of_its_own() -> None:
    ring = Keyring(b"m" * 32)
    keys = {ring.derive("a", "b"), ring.derive("a"), ring.derive("ab"), ring.derive("a", "c")}
    assert len(keys) == 4
    assert ring.derive("a", "b") == Keyring(b"m" * 32).derive("a", "b")


def test_what_is_sealed_opens_for_its_own_row_only() -> None:
    ring = Keyring(b"m" * 32)
    sealed = ring.seal("door", "alice", b"secret")
    assert ring.open("door", "alice", sealed) == b"secret"
    for purpose, row in (("door", "bob"), ("other", "alice")):
        with pytest.raises(KeyringDamaged):
            ring.open(purpose, row, sealed)
    with pytest.raises(KeyringDamaged):
        ring.open("door", "alice", b"short")


def test_the_key_file_is_private_and_stays_the_same(tmp_path: Path) -> None:
    ring = keyring.open_keyring(tmp_path)
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert keyring.open_keyring(tmp_path).derive("x") == ring.derive("x")
    assert not keyring.is_locked(tmp_path)


def test_a_passphrase_locks_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "MEMORY", 1 << 20)
    monkeypatch.setattr(keyring, "OPERATIONS", 1)
    ring = keyring.open_keyring(tmp_path, "open sesame")
    assert keyring.is_locked(tmp_path)
    assert keyring.open_keyring(tmp_path, "open sesame").derive("x") == ring.derive("x")
    for wrong in (None, "", "sesame"):
        with pytest.raises(KeyringLocked):
            keyring.open_keyring(tmp_path, wrong)
    keyring.change_passphrase(tmp_path, "open sesame", None)
    assert keyring.open_keyring(tmp_path).derive("x") == ring.derive("x")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"key":"zz"}', b'{"key":"00"}'])
def test_a_damaged_key_file_is_never_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(content)
    with pytest.raises(KeyringDamaged):
        keyring.open_keyring(tmp_path)
    assert path.read_bytes() == content
