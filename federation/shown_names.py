"""Names that strangers chose, made fit to be read: nothing hidden, turned round or look-alike.

Pure. What people compare is never the name but the words that both screens show.
"""

import unicodedata
from collections.abc import Iterable

MOST_CHARACTERS = 64
_NOBODY = "(no name)"
# Ligatures, full-width forms and the like fold away; these letters look like Latin ones and do not.
_LOOKS_LIKE = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u04cf\u0501\u051b\u051d"
    "\u03b1\u03b5\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7\u0131\u0261\u217c",
    "aeopcyxijsldqwaeikvoptuxigl",
)
# What one letter is drawn like by two others, and signs that an eye reads as one: i, l, 1 and |.
_DRAWN_LIKE = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("0", "o"))
_STROKES = str.maketrans("i1|", "lll")
_SCRIPTS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC")


def safe(name: str) -> str:
    """A name on one line, without control, format or invisible characters, and not too long."""
    kept = "".join(char if _is_shown(char) else " " for char in name)
    return " ".join(kept.split())[:MOST_CHARACTERS].strip() or _NOBODY


def is_fit(name: str) -> bool:
    """Whether a name may stand as it is: empty, or with nothing hidden in it."""
    return not name or safe(name) == name


def quoted(name: str) -> str:
    """A safe name in quotes, isolated so that it cannot turn the words around it."""
    return f"\u2068\u201c{safe(name)}\u201d\u2069"


def skeleton(name: str) -> str:
    """What a name looks like: equal for names that an eye may take for each other."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", safe(name)).casefold())
    letters = "".join(char for char in plain if not unicodedata.combining(char))
    drawn = letters.translate(_LOOKS_LIKE)
    for drawn_so, like in _DRAWN_LIKE:
        drawn = drawn.replace(drawn_so, like)
    return drawn.translate(_STROKES)


def warnings(name: str, others: Iterable[str] = ()) -> list[str]:
    """What to tell the owner about a name; `others` are the names that are known already."""
    found = []
    if safe(name) != name and name:
        found.append("The name held characters that are not shown here.")
    if len(_scripts(name)) > 1:
        found.append("The name mixes letters of several alphabets.")
    resembled = sorted(one for one in set(others) if one and skeleton(one) == skeleton(name))
    if resembled:
        found.append(f"You have a connection with {quoted(resembled[0])} already: compare words.")
    return found


def _is_shown(char: str) -> bool:
    return unicodedata.category(char)[0] not in "CZ" and char not in "\u115f\u1160\u3164\uffa0"


def _scripts(name: str) -> set[str]:
    letters = (unicodedata.name(char, "") for char in name if char.isalpha())
    return {script for letter in letters for script in _SCRIPTS if letter.startswith(script)}
