"""A server from a backup: everything is there, no key is used twice, nobody comes back unasked."""

import asyncio
import contextlib
import json
import tarfile
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pytest

from homeserver.app.sealed_files import SealedWriter
from homeserver.testing import processes
from homeserver.testing.client import Client
from homeserver.testing.processes import VODOZEMAC, Server
from tests.end_to_end import story
from tests.end_to_end.conftest import WithClient

PASSPHRASE = "four words and more"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    alice = Server(directory=tmp_path / "alice", environment=VODOZEMAC)
    bob = Server(directory=tmp_path / "bob", user="bob")
    with processes.running(alice, bob):
        processes.connect(alice, bob)
        yield alice, bob


def back_up(server: Server, file: Path, *options: str) -> None:
    passphrase_file = server.directory / "passphrase"
    passphrase_file.write_text(PASSPHRASE)
    server.command("backup", str(file), "--passphrase-file", str(passphrase_file), *options)


def restored(server: Server, file: Path, directory: Path) -> tuple[Server, str]:
    """The server of a backup, in a directory of its own, on the port of the one before."""
    directory.mkdir()
    back = Server(
        directory=directory, user=server.user, port=server.port, environment=server.environment
    )
    passphrase_file = server.directory / "passphrase"
    told = back.run_command(
        *("restore", str(file)),
        *("--data-dir", str(back.data_dir)),
        *("--passphrase-file", str(passphrase_file)),
    )
    return back, told.stdout


@contextlib.asynccontextmanager
async def talking(room_id: str, *clients: Client) -> AsyncIterator[dict[str, list[str]]]:
    """Each of them says one thing after the other for the length of a block; what they said."""
    said: dict[str, list[str]] = {client.user_id: [] for client in clients}
    is_over = asyncio.Event()

    async def talk(client: Client) -> None:
        words = said[client.user_id]
        while not is_over.is_set():
            text = f"number {len(words)}"
            await client.send_text(room_id, text)
            words.append(text)

    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(talk(client))
        yield said
        is_over.set()


async def test_a_backup_of_a_running_server_brings_everything_back(
    pair: tuple[Server, Server], tmp_path: Path, with_client: WithClient
) -> None:
    alice, bob = pair
    hers, his = await with_client(alice), await with_client(bob)
    room_id = await story.meet(hers, his)
    await hers.send_text(room_id, "before the backup")
    picture = await hers.upload(b"kept with care", "text/plain")
    async with talking(room_id, hers, his) as said:
        await asyncio.to_thread(back_up, alice, tmp_path / "alice.backup")
    await hers.send_text(room_id, "after the backup")
    await story.until_heard(his, room_id, hers.user_id, said[hers.user_id])
    await story.hears(his, room_id, "after the backup")
    heard = await story.messages(his, room_id, hers.user_id)
    alice.kill()
    back, told = restored(alice, tmp_path / "alice.backup", tmp_path / "again")
    name = bob.status()["server_name"]
    assert name in told
    try:
        back.start()
        assert standings(back) == {name: "paused"}
        back.command("peers", "resume", name)
        hers = await with_client(back)
        await his.send_text(room_id, "welcome back")
        await story.hears(hers, room_id, "welcome back")
        await hers.send_text(room_id, "thank you")
        await story.hears(his, room_id, "thank you")
        await story.until_heard(hers, room_id, his.user_id, said[his.user_id])
        again = await story.messages(his, room_id, hers.user_id)
        assert again[: len(heard)] == heard  # nothing of before came in the place of something else
        assert [text for _, text in again[len(heard) :]] == ["thank you"]
        assert await hers.download(picture) == b"kept with care"
    finally:
        back.kill()


def standings(server: Server) -> dict[str, str]:
    listed = json.loads(server.command("peers", "list", "--json").stdout)
    return {peer["server_name"]: peer["standing"] for peer in listed}


def test_a_backup_is_never_written_over_and_never_readable_by_others(tmp_path: Path) -> None:
    alice = Server(directory=tmp_path / "alice")
    alice.init()
    file = tmp_path / "alice.backup"
    back_up(alice, file)
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()
    passphrase = str(alice.directory / "passphrase")
    refused = alice.command("backup", str(file), "--passphrase-file", passphrase, is_checked=False)
    assert refused.returncode != 0
    assert "--overwrite" in refused.stderr
    assert file.read_bytes() == before
    back_up(alice, file, "--overwrite")
    assert file.read_bytes() != before


def test_a_restore_touches_nothing_that_is_there(tmp_path: Path) -> None:
    alice = Server(directory=tmp_path / "alice")
    alice.init()
    file = tmp_path / "alice.backup"
    back_up(alice, file)
    before = {path: path.read_bytes() for path in alice.data_dir.iterdir()}
    refused = alice.run_command(
        *("restore", str(file), "--data-dir", str(alice.data_dir)),
        *("--passphrase-file", str(alice.directory / "passphrase")),
        is_checked=False,
    )
    assert refused.returncode == 1
    assert "files in that directory already" in refused.stderr
    assert {path: path.read_bytes() for path in alice.data_dir.iterdir()} == before


@pytest.mark.parametrize("name", ["files/../../escaped", "/escaped", "elsewhere", "files//escaped"])
def test_a_backup_that_leads_out_of_its_directory_is_refused(tmp_path: Path, name: str) -> None:
    packed = BytesIO()
    writer = SealedWriter(packed, PASSPHRASE)
    with tarfile.open(mode="w|", fileobj=cast("Any", writer)) as archive:
        member = tarfile.TarInfo(name)
        member.size = 4
        archive.addfile(member, BytesIO(b"evil"))
    writer.finish()
    file, passphrase = tmp_path / "evil.backup", tmp_path / "passphrase"
    file.write_bytes(packed.getvalue())
    passphrase.write_text(PASSPHRASE)
    refused = Server(directory=tmp_path / "x").run_command(
        *("restore", str(file), "--data-dir", str(tmp_path / "inside")),
        *("--passphrase-file", str(passphrase)),
        is_checked=False,
    )
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.backup", "passphrase"]


def test_what_lies_behind_links_is_in_the_backup(tmp_path: Path) -> None:
    alice = Server(directory=tmp_path / "alice")
    alice.init()
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "media").mkdir(parents=True)
    (elsewhere / "media" / "picture").write_bytes(b"a picture")
    alice.config_file.rename(elsewhere / "config.yaml")
    alice.config_file.symlink_to(elsewhere / "config.yaml")
    (alice.data_dir / "linked").symlink_to(elsewhere / "media")
    back_up(alice, tmp_path / "alice.backup")
    back, _ = restored(alice, tmp_path / "alice.backup", tmp_path / "again")
    assert (back.data_dir / "linked" / "picture").read_bytes() == b"a picture"
    assert back.config_file.read_bytes() == (elsewhere / "config.yaml").read_bytes()
    assert not back.config_file.is_symlink()


def test_a_database_elsewhere_comes_last_and_replaces_nothing(tmp_path: Path) -> None:
    alice = Server(directory=tmp_path / "alice")
    alice.init()
    place = tmp_path / "databases" / "alice.db"
    place.parent.mkdir()
    (alice.data_dir / "homeserver.db").rename(place)
    with alice.config_file.open("a") as settings:
        settings.write(f"database:\n  url: sqlite:///{place}\n")
    back_up(alice, tmp_path / "alice.backup")
    refused = alice.run_command(
        *("restore", str(tmp_path / "alice.backup"), "--data-dir", str(tmp_path / "again")),
        *("--passphrase-file", str(alice.directory / "passphrase")),
        is_checked=False,
    )
    assert refused.returncode == 1
    assert "Move it away" in refused.stderr
    assert not (tmp_path / "again").exists()
    place.rename(tmp_path / "before.db")
    restored(alice, tmp_path / "alice.backup", tmp_path / "again")
    assert place.exists()
