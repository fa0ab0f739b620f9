"""Setting up a server: keys, owner, and the lock on its secrets."""

import stat
from pathlib import Path

import pytest

from homeserver import config, keyring
from homeserver.app import initialising
from homeserver.config import Config
from homeserver.storage import accounts
from homeserver.storage.database import Database
from homeserver.storage.wake_ups import WakeUps


def settings(directory: Path, **given: object) -> Config:
    return config.parse(given, directory, {})


def never() -> str:
    raise AssertionError("nobody should have been asked")


def test_a_server_is_named_after_its_key_and_its_owner_is_known(tmp_path: Path) -> None:
    made = initialising.initialise(settings(tmp_path), "alice", "a password")

    assert made.server_name == f"{made.node_id}.p2p.alt"
    assert made.user_id == f"@alice:{made.server_name}"
    database = Database(settings(tmp_path).database_url, WakeUps())
    assert database.read(accounts.find_owner) == made.user_id
    database.close()


def test_a_server_may_have_a_dns_name(tmp_path: Path) -> None:
    named = settings(tmp_path, server={"server_name": "alice.example"})
    assert initialising.initialise(named, "alice", "a password").server_name == "alice.example"


def test_nothing_is_set_up_twice(tmp_path: Path) -> None:
    initialising.initialise(settings(tmp_path), "alice", "a password")
    with pytest.raises(initialising.AlreadyInitialised):
        initialising.initialise(settings(tmp_path), "alice", "a password")


def test_secrets_are_for_the_owner_alone_and_never_stand_in_the_open(tmp_path: Path) -> None:
    made = initialising.initialise(settings(tmp_path), "alice", "a password")

    for file in ("master.key", "identity.sealed"):
        assert stat.S_IMODE((tmp_path / file).stat().st_mode) == 0o600
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"a password" not in stored
    assert made.recovery_phrase.encode() not in stored


def test_a_locked_server_asks_for_its_passphrase(tmp_path: Path) -> None:
    lock = tmp_path / "passphrase"
    lock.write_text("open sesame\n")
    locked = settings(tmp_path, secrets={"passphrase_file": str(lock)})
    initialising.initialise(locked, "alice", "a password")

    from_file = initialising.unlock(locked, never).derive("a purpose")
    asked = initialising.unlock(settings(tmp_path), lambda: "open sesame").derive("a purpose")

    assert from_file == asked
    with pytest.raises(keyring.KeyringLocked):
        initialising.unlock(settings(tmp_path), lambda: "open barley")


def test_an_unlocked_server_asks_for_nothing(tmp_path: Path) -> None:
    initialising.initialise(settings(tmp_path), "alice", "a password")
    initialising.unlock(settings(tmp_path), never)


def test_where_there_is_no_server_there_is_nothing_to_unlock(tmp_path: Path) -> None:
    with pytest.raises(initialising.NotInitialised):
        initialising.unlock(settings(tmp_path), never)
