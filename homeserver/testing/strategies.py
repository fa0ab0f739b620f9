"""For hypothesis, which has to be installed: owners who do anything at any time."""

from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st
from hypothesis.stateful import rule

from homeserver.testing.circumstances import WHO, Circumstances
from homeserver.testing.person import Person

_V3 = "/_matrix/client/v3"
_FILE_BYTES = 5_000
_ROOMS = st.sampled_from(["cut", "leave", "eject"])
_CHANGES = st.sampled_from(
    [
        *({"messages": False}, {"messages": True}, {"room_invites": False}, {"room_invites": True}),
        *({"media_max_bytes": 0}, {"media_max_bytes": _FILE_BYTES - 1}, {"typing": False}),
        *({"media_max_bytes": _FILE_BYTES}, {"typing": True}, {"receipts": False}),
        *({"receipts": True}, {"presence": True}, {"presence": False}, {"profile": "none"}),
        *({"profile": "name"}, {"profile": "all"}, {"route": False}, {"route": True}),
        *({"introduce": True}, {"introduce": False}, {"rate": 1}, {"rate": 30_000}),
        *({"expires_at": 0}, {"expires_at": None}, {"note": "met at the fair"}),
    ]
)


class Owners(Circumstances):
    """Three friends to whom anything may happen, and who do all that the admin API offers them.

    What cannot be done where they stand is refused, and has not happened.
    """

    def __init__(self) -> None:
        super().__init__()
        self._links: list[str] = []

    # Rooms

    @rule(who=WHO)
    def say(self, who: int) -> None:
        """Somebody says something."""
        self.attempt(self.people[who].say(self.room_id, f"line {self.number()}"))

    @rule(who=WHO, topic=st.integers(0, 3))
    def change_topic(self, who: int, topic: int) -> None:
        """Somebody changes the topic, if the room allows it."""
        content = {"topic": f"topic {topic}"}
        self.attempt(self.people[who].set_state(self.room_id, "m.room.topic", "", content))

    @rule(who=WHO, verb=st.sampled_from(["type_in", "read_all", "leave_room", "join", "open"]))
    def be_there(self, who: int, verb: str) -> None:
        """Somebody types, reads, goes, comes, or opens the newest file."""
        person = self.people[who]
        if verb == "open":
            self.attempt(_open_a_file(person, self.room_id))
        else:
            self.attempt(getattr(person, verb)(self.room_id))

    @rule(who=WHO)
    def send_file(self, who: int) -> None:
        """Somebody sends a file."""
        self.attempt(self.people[who].send_file(self.room_id, _FILE_BYTES))

    @rule(who=WHO, whom=WHO)
    def ask_in(self, who: int, whom: int) -> None:
        """Somebody invites somebody into the room."""
        self._with(who, whom, lambda one, other: one.moderate("invite", self.room_id, other))

    @rule(who=WHO, whom=WHO)
    def look_up(self, who: int, whom: int) -> None:
        """Somebody looks at the profile of somebody."""
        path = f"{_V3}/profile/{quote(self.people[whom].user_id)}"
        self.attempt(self.people[who].client.request("GET", path))

    @rule(who=WHO)
    def appear(self, who: int) -> None:
        """Somebody shows who they are, and that they are there."""
        person, number = self.people[who], self.number()
        name, here = {"displayname": f"name {number}"}, {"presence": "online"}
        user = quote(person.user_id)
        self.attempt(person.client.request("PUT", f"{_V3}/profile/{user}/displayname", name))
        self.attempt(person.client.request("PUT", f"{_V3}/presence/{user}/status", here))

    # Connections

    @rule(who=WHO, how=st.sampled_from(["link", "scanned", "knock"]), asks_owner=st.booleans())
    def invite(self, who: int, how: str, asks_owner: bool) -> None:  # noqa: FBT001
        """Somebody makes a link: for one person, for a face, or for all who want to knock."""
        self.attempt(self._invite(self.people[who], how=how, asks_owner=asks_owner))

    @rule(who=WHO, which=st.integers(0, 9))
    def open_link(self, who: int, which: int) -> None:
        """Somebody opens a link, whoever's it is and whether or not it was opened before."""
        if self._links:
            self.attempt(self.people[who].open_link(self._links[which % len(self._links)]))

    @rule(who=WHO, which=st.integers(0, 9))
    def withdraw(self, who: int, which: int) -> None:
        """Somebody takes an invitation back."""
        self.attempt(_withdraw(self.people[who], which))

    @rule(who=WHO, whom=WHO)
    def meet_again(self, who: int, whom: int) -> None:
        """Somebody gives somebody a link, who opens it: a consent after whatever was before."""
        self._with(who, whom, self._meet_again)

    @rule(
        who=WHO,
        whom=WHO,
        verb=st.sampled_from(
            ["accept", "decline", "cancel", "pause", "resume", "unblock", "dismiss"]
        ),
    )
    def change_mind(self, who: int, whom: int, verb: str) -> None:
        """Somebody takes a step about somebody, if it can be taken."""
        self._with(who, whom, lambda one, other: getattr(one, verb)(other))

    @rule(who=WHO, is_paused=st.booleans())
    def retire(self, who: int, is_paused: bool) -> None:  # noqa: FBT001
        """Somebody pauses everything, or goes on with everybody."""
        person = self.people[who]
        self.attempt(person.pause_everything() if is_paused else person.resume_everything())

    @rule(who=WHO, whom=WHO, changes=_CHANGES)
    def grant(self, who: int, whom: int, changes: dict[str, Any]) -> None:
        """Somebody edits what somebody may do."""
        self._with(who, whom, lambda one, other: one.grant(other, **changes))

    @rule(who=WHO, whom=WHO, rooms=_ROOMS, goodbye=st.booleans(), erase=st.booleans())
    def revoke(self, who: int, whom: int, rooms: str, goodbye: bool, erase: bool) -> None:  # noqa: FBT001
        """Somebody ends a connection."""
        choice = {"rooms": rooms, "goodbye": goodbye, "erase": erase}
        self._with(who, whom, lambda one, other: one.revoke(other, **choice))

    @rule(who=WHO, whom=WHO, rooms=_ROOMS, erase=st.booleans())
    def block(self, who: int, whom: int, rooms: str, erase: bool) -> None:  # noqa: FBT001
        """Somebody ends a connection and any other that might come."""
        choice = {"rooms": rooms, "erase": erase}
        self._with(who, whom, lambda one, other: one.block(other, **choice))

    async def end_well(self) -> None:
        """Whoever still has somebody talks to them again; then all who do have to agree."""
        for person in self.people:
            await person.resume_everything()
            for other in self.people:
                if person is not other and await person.standing(other) == "paused":
                    await person.grant(other, expires_at=None, rate=30_000)
                    await person.resume(other)
        await self.world.check_healed()
        for person in self.people:
            if await person.membership(self.room_id) == "join":
                await person.say(self.room_id, "the end")
        await self.world.check_healed()

    def _with(self, who: int, whom: int, deed: Any) -> None:
        """Somebody does something about somebody else."""
        if who != whom:
            self.attempt(deed(self.people[who], self.people[whom]))

    async def _invite(self, person: Person, **wish: Any) -> None:
        self._links.append(await person.invitation(**wish))

    async def _meet_again(self, inviter: Person, invitee: Person) -> None:
        await invitee.open_link(await inviter.invitation())


async def _withdraw(person: Person, which: int) -> None:
    given = await person.invitations()
    if given:
        await person.withdraw(str(given[which % len(given)]["id"]))


async def _open_a_file(person: Person, room_id: str) -> None:
    if any("url" in event["content"] for event in await person.timeline(room_id)):
        await person.open_newest_file(room_id)
