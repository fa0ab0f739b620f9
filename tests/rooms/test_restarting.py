"""What a restart must not change."""

from pathlib import Path

from tests.rooms.servers import running


async def test_a_request_repeated_after_a_restart_makes_no_second_event(tmp_path: Path) -> None:
    content = {"msgtype": "m.text", "body": "hello"}
    async with running(tmp_path, "alice") as (alice,):
        room_id = await alice.create()
        first = await alice.sender.send_message(
            alice.requester, room_id, "m.room.message", content, "once"
        )
    async with running(tmp_path, "alice") as (alice,):
        again = await alice.sender.send_message(
            alice.requester, room_id, "m.room.message", content, "once"
        )
        assert again == first
        assert alice.bodies(room_id) == ["hello"]
