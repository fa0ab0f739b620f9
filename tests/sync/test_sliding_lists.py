import pytest

from homeserver import errors
from homeserver.rooms import drafting
from homeserver.storage import account_data, rooms
from tests.sync.alice import ALICE, BOB, Alice
from tests.sync.sliding import Slider, said, serve, windowed


async def test_the_first_window_has_the_rooms_with_the_newest_events(alice: Alice) -> None:
    several = [await alice.create() for _ in range(5)]
    await alice.say(several[1], "newest")

    answer = await Slider(alice).slide(windowed([0, 1]))

    assert answer["lists"]["all"]["count"] == 5
    assert set(answer["rooms"]) == {several[1], several[4]}
    assert answer["rooms"][several[1]]["initial"] is True


async def test_a_further_window_brings_only_what_was_not_told(alice: Alice) -> None:
    several = [await alice.create() for _ in range(5)]
    slider = Slider(alice)
    await slider.slide(windowed([0, 1]))
    answer = await slider.slide(windowed([0, 4]))
    assert set(answer["rooms"]) == set(several[:3])
    assert (await slider.slide(windowed([0, 4])))["rooms"] == {}


async def test_a_room_that_rises_into_the_window_is_told(alice: Alice) -> None:
    several = [await alice.create() for _ in range(4)]
    slider = Slider(alice)
    await slider.slide(windowed([0, 1]))
    await slider.slide(windowed([0, 1]))  # settled now
    await alice.say(several[0], "here I am")
    answer = await slider.slide(windowed([0, 1]))
    assert said(answer["rooms"][several[0]]) == ["here I am"]
    assert answer["rooms"][several[0]]["initial"] is True
    assert answer["rooms"][several[0]]["num_live"] == 1


async def test_an_invitation_nobody_wants_takes_no_place(alice: Alice) -> None:
    room_id = await alice.create()
    await alice.be_invited()
    slider = Slider(alice)
    assert (await slider.slide(windowed([0, 0])))["lists"]["all"]["count"] == 2

    async def keep(kind: str, **content: object) -> None:
        await alice.database.write(
            lambda work: account_data.save_account_data(work, ALICE, None, kind, content)
        )

    for kind, content in (
        ("m.ignored_user_list", {"ignored_users": {BOB: {}}}),
        ("m.invite_permission_config", {"default_action": "block"}),
    ):
        await keep(kind, **content)
        other = Slider(alice, slider.service)
        answer = await other.slide(windowed([0, 0]), conn_id=kind)
        assert answer["lists"]["all"]["count"] == 1
        assert list(answer["rooms"]) == [room_id]
        assert (await slider.slide(windowed([0, 0])))["lists"]["all"]["count"] == 1
        await keep(kind)
        assert (await slider.slide(windowed([0, 0])))["lists"]["all"]["count"] == 2


async def test_a_room_that_leaves_makes_place_for_the_next(alice: Alice) -> None:
    several = [await alice.create() for _ in range(4)]
    slider = Slider(alice)
    await slider.slide(windowed([0, 1]))
    await slider.slide(windowed([0, 1]))
    await alice.member(several[3], ALICE, "leave")
    answer = await slider.slide(windowed([0, 1]))
    assert set(answer["rooms"]) == {several[3], several[1]}
    assert answer["lists"]["all"]["count"] == 3


async def test_what_fell_behind_is_caught_up_without_loss(alice: Alice) -> None:
    several = [await alice.create() for _ in range(3)]
    slider = Slider(alice)
    await slider.slide(windowed([0, 2]))
    await alice.say(several[0], "missed")
    await alice.say(several[1], "seen")
    answer = await slider.slide(windowed([0, 0]))
    assert list(answer["rooms"]) == [several[1]]
    await alice.say(several[2], "on top")
    answer = await slider.slide(windowed([0, 2]))
    assert said(answer["rooms"][several[0]]) == ["missed"]
    assert "initial" not in answer["rooms"][several[0]]


async def test_a_lost_answer_is_given_again(alice: Alice) -> None:
    several = [await alice.create() for _ in range(3)]
    slider = Slider(alice)
    await slider.slide(windowed([0, 0]))
    lost = await slider.ask(windowed([0, 2]))
    again = await slider.slide(windowed([0, 2]))
    assert set(lost["rooms"]) == set(again["rooms"]) == {several[0], several[1]}
    assert (await slider.slide(windowed([0, 2])))["rooms"] == {}


async def test_the_position_before_the_last_two_is_unknown(alice: Alice) -> None:
    for _ in range(3):
        await alice.create()
    slider = Slider(alice)
    first = (await slider.slide(windowed([0, 0])))["pos"]
    await slider.slide(windowed([0, 1]))
    await slider.slide(windowed([0, 2]))
    slider.pos = first
    with pytest.raises(errors.HomeserverError) as refused:
        await slider.slide(windowed([0, 2]))
    assert refused.value.errcode == "M_UNKNOWN_POS"


@pytest.mark.parametrize("pos", ["nonsense", "s1_0_ab_c999v0", "s5", "s99999_0_ab_c1v0"])
async def test_a_position_that_was_never_given_is_unknown(alice: Alice, pos: str) -> None:
    slider = Slider(alice)
    slider.pos = pos
    with pytest.raises(errors.HomeserverError) as refused:
        await slider.slide()
    assert refused.value.errcode == "M_UNKNOWN_POS"


async def test_another_device_cannot_use_a_position(alice: Alice) -> None:
    slider, other = Slider(alice), Slider(alice)
    await slider.slide()
    other.pos, other.service = slider.pos, slider.service
    other.requester = type(slider.requester)(ALICE, "LAPTOP")  # type: ignore[arg-type]
    with pytest.raises(errors.HomeserverError) as refused:
        await other.slide()
    assert refused.value.errcode == "M_UNKNOWN_POS"


async def test_filters_choose_rooms(alice: Alice) -> None:
    plain = await alice.create(name="Garden")
    secret = await alice.create(
        initial_state=[("m.room.encryption", "", {"algorithm": "m.megolm.v1.aes-sha2"})]
    )
    space = await alice.create(creation_content={"type": "m.space"})
    await alice.set(space, "m.space.child", plain, via=["alice.test"])

    async def listed(**filters: object) -> set[str]:
        answer = await Slider(alice).slide(windowed([0, 9], filters=filters))
        assert answer["lists"]["all"]["count"] == len(answer["rooms"])
        return set(answer["rooms"])

    assert await listed(is_encrypted=True) == {secret}
    assert await listed(is_encrypted=False) == {plain, space}
    assert await listed(room_types=["m.space"]) == {space}
    assert await listed(room_types=[None]) == {plain, secret}
    assert await listed(not_room_types=["m.space"]) == {plain, secret}
    assert await listed(room_types=[None, "m.space"], not_room_types=[None]) == {space}
    assert await listed(spaces=[space]) == {plain}
    assert await listed(spaces=["!unknown:alice.test"]) == set()
    assert await listed(room_name_like="gARD") == {plain}
    assert await listed(is_invite=True) == set()
    assert await listed() == {plain, secret, space}


async def test_lists_follow_account_data(alice: Alice) -> None:
    first, second = await alice.create(), await alice.create()
    direct, loved = windowed([0, 9], filters={"is_dm": True}), {"tags": ["m.favourite"]}
    slider, other = Slider(alice), Slider(alice)
    assert (await slider.slide(direct))["rooms"] == {}
    assert (await other.slide(windowed([0, 9], filters=loved), conn_id="b"))["rooms"] == {}

    async def keep(room_id: object, kind: str, content: object) -> None:
        await alice.database.write(
            lambda work: account_data.save_account_data(work, ALICE, room_id, kind, content)  # type: ignore[arg-type]
        )

    await keep(None, "m.direct", {BOB: [first]})
    await keep(second, "m.tag", {"tags": {"m.favourite": {"order": 0.5}}})

    answer = await slider.slide(direct)
    assert set(answer["rooms"]) == {first}
    assert answer["rooms"][first]["is_dm"] is True
    tagged = await other.slide(windowed([0, 9], filters=loved), conn_id="b")
    assert set(tagged["rooms"]) == {second}


async def test_being_a_direct_room_is_told_when_it_changes(alice: Alice) -> None:
    room_id = await alice.create()
    slider = Slider(alice)
    assert (await slider.slide())["rooms"][room_id]["is_dm"] is False
    waiting = slider.wait()
    await alice.database.write(
        lambda work: account_data.save_account_data(work, ALICE, None, "m.direct", {BOB: [room_id]})
    )
    assert (await waiting)["rooms"][room_id]["is_dm"] is True


async def test_a_room_one_was_removed_from_stays_and_one_that_was_left_goes(
    alice: Alice,
) -> None:
    kicked, left = [await alice.create(version_id="11") for _ in range(2)]
    for room_id in (kicked, left):
        await alice.member(room_id, BOB, "join")
        await alice.set(room_id, "m.room.power_levels", users={ALICE: 50, BOB: 100})
    slider = Slider(alice, is_stable=True)
    await slider.slide({"all": {"timeline_limit": 5, "required_state": {}}})
    await alice.happen(kicked, drafting.membership(BOB, ALICE, "leave", {}))
    await alice.member(left, ALICE, "leave")
    answer = await slider.slide({"all": {"timeline_limit": 5, "required_state": {}}})
    assert {room["membership"] for room in answer["rooms"].values()} == {"leave"}
    assert set(answer["rooms"]) == {kicked, left}
    anew = Slider(alice, is_stable=True)
    answer = await anew.slide({"all": {"timeline_limit": 5, "required_state": {}}})
    assert set(answer["rooms"]) == {kicked}
    await alice.bob_says(kicked, "secret")
    assert (await anew.slide({"all": {"timeline_limit": 5, "required_state": {}}}))["rooms"] == {}


async def test_coming_back_to_a_room_begins_it_anew(alice: Alice) -> None:
    room_id = await alice.create()
    await alice.member(room_id, BOB, "join")
    slider = Slider(alice)
    await slider.slide()
    await alice.member(room_id, ALICE, "leave")
    await slider.slide()
    await alice.bob_says(room_id, "meanwhile")
    assert (await slider.slide())["rooms"] == {}
    await alice.member(room_id, ALICE, "join")
    assert (await slider.slide())["rooms"][room_id]["initial"] is True


async def test_a_room_that_was_left_out_of_sight_begins_anew_too(alice: Alice) -> None:
    room_id = await alice.create()
    await alice.member(room_id, BOB, "join")
    slider = Slider(alice)
    wish = {room_id: {"timeline_limit": 3, "required_state": []}}
    await slider.slide({}, room_subscriptions=wish)
    await alice.say(room_id, "unseen")
    await slider.slide({})
    await alice.member(room_id, ALICE, "leave")
    assert said((await slider.slide({}))["rooms"][room_id]) == ["unseen"]
    await alice.member(room_id, ALICE, "join")
    answer = await slider.slide({}, room_subscriptions=wish)
    assert answer["rooms"][room_id]["initial"] is True


async def test_a_room_one_was_removed_from_goes_when_it_is_forgotten(alice: Alice) -> None:
    kicked = await alice.create(version_id="11")
    await alice.member(kicked, BOB, "join")
    await alice.set(kicked, "m.room.power_levels", users={ALICE: 50, BOB: 100})
    await alice.happen(kicked, drafting.membership(BOB, ALICE, "leave", {}))
    service = serve(alice)
    assert set((await Slider(alice, service).slide())["rooms"]) == {kicked}
    await alice.database.write(lambda work: rooms.forget_room(work, kicked, ALICE))
    assert (await Slider(alice, service).slide())["rooms"] == {}
