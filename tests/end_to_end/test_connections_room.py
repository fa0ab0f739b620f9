"""The Connections room in a real client: matrix-nio shows it, and orders given there are obeyed."""

from pathlib import Path

from homeserver.testing.client import Client
from homeserver.testing.encrypted_client import eventually, nio_client
from homeserver.testing.processes import Server

_V3 = "/_matrix/client/v3"


async def test_matrix_nio_hears_and_orders(server: Server, tmp_path: Path) -> None:
    async with nio_client(server.url, server.user, server.password, tmp_path) as phone:
        async with Client(server.url) as second:
            await second.log_in(server.user, server.password)
            room_id = await _notice_room(second)
        await eventually(lambda: room_id in phone.library.rooms, "the room in the client")
        room = phone.library.rooms[room_id]
        speaker = f"@connections:{phone.user_id.partition(':')[2]}"
        assert set(room.users) == {phone.user_id, speaker}
        assert not room.encrypted
        await phone.send(room_id, "m.room.message", {"msgtype": "m.text", "body": "list"})
        heard = await phone.hears(room_id, "You have no connections yet. `invite` makes a link.")
        assert heard.sender == speaker
        await eventually(lambda: "m.server_notice" in room.tags, "the tag")


async def _notice_room(client: Client) -> str:
    """The room that the server made when the second device logged in, found by its tag."""
    while True:
        answer = await client.sync(timeout_ms=5_000)
        for room_id, joined in answer.get("rooms", {}).get("join", {}).items():
            entries = joined.get("account_data", {}).get("events", [])
            if any("m.server_notice" in entry["content"].get("tags", {}) for entry in entries):
                return str(room_id)
