"""Links and node ids as QR codes, for a screen that somebody else's camera looks at. Pure."""

import io

from federation import fingerprints

NODE = "homeserver://node#"
_PIXELS = 6  # for each square of a code


def drawn(text: str) -> str:
    """A code made of characters, for a terminal."""
    import segno

    page = io.StringIO()
    segno.make(text, error="m", micro=False).terminal(page, compact=True)
    return page.getvalue()


def svg(text: str) -> str:
    """A code as a picture that stands alone."""
    import segno

    code = segno.make(text, error="m", micro=False)
    page = io.BytesIO()
    code.save(page, kind="svg", scale=4, light="#fff", xmldecl=False, nl=False)
    return page.getvalue().decode()


def png(text: str) -> tuple[bytes, int]:
    """A code as a picture for a phone's screen, and how many pixels its sides have."""
    import segno

    code = segno.make(text, error="m", micro=False)
    page = io.BytesIO()
    code.save(page, kind="png", scale=_PIXELS, light="#fff")
    return page.getvalue(), int(code.symbol_size(_PIXELS)[0])


def node(node_id: str) -> str:
    """What the code of a node says."""
    return NODE + node_id


def is_same(said: str, node_id: str, words: str) -> bool:
    """Whether what another screen shows, a code's text or words or groups, means this node."""
    plain = " ".join(said.lower().split())
    if plain.startswith(NODE):
        return plain == node(node_id)
    return plain in (words, node_id, fingerprints.in_groups(node_id))
