"""What the owner is answered in the Connections room: words, and at times a picture with them."""

from dataclasses import dataclass

from homeserver.matrix.canonical_json import JsonObject


@dataclass(frozen=True, slots=True)
class Picture:
    """A square picture that the server keeps for its owner."""

    uri: str
    byte_count: int
    pixels: int

    def content(self, name: str) -> JsonObject:
        """As a message shows it.

        Spec: client-server-api#mimage
        """
        about = {"mimetype": "image/png", "size": self.byte_count}
        return {
            "msgtype": "m.image",
            "body": name,
            "url": self.uri,
            "info": about | {"w": self.pixels, "h": self.pixels},
            "m.mentions": {},
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to an order."""

    text: str
    picture: Picture | None = None
