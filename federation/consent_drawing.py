"""Draw both tables of `consent` for the documentation.

`python -m federation.consent_drawing docs/protocol/consent.md` renews what is between its marks.
"""

import sys
from pathlib import Path

from federation.consent import INVITATIONS, TABLE

_MARKS = {
    "standings": "<!-- the table of standings: drawn -->",
    "invitations": "<!-- the table of invitations: drawn -->",
}
_END = "<!-- end of what is drawn -->"
_NOTHING = "nothing; whoever asks gets the refusal"


def standings() -> str:
    """Every standing and step, as a Mermaid state diagram."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> none"]
    for (standing, step), outcome in TABLE.items():
        lines.append(f"    {standing} --> {outcome.standing}: {step}")
    return "\n".join([*lines, "```"])


def invitations() -> str:
    """What can become of an invitation, as a table."""
    lines = ["| invitation | use | afterwards | what is done |", "|---|---|---|---|"]
    for (ticket, use), outcome in INVITATIONS.items():
        done = ", ".join(outcome.replies) or _NOTHING
        lines.append(f"| {ticket} | {use} | {outcome.ticket} | {done} |")
    return "\n".join(lines)


def renewed(page: str) -> str:
    """The page with both drawings as the code has them now."""
    for name, drawn in (("standings", standings()), ("invitations", invitations())):
        before, mark, rest = page.partition(_MARKS[name])
        _, end, after = rest.partition(f"\n{_END}")
        if not end:
            raise ValueError(f"{_MARKS[name]} has to stand there once, and {_END} after it")
        page = f"{before}{mark}\n{drawn}{end}{after}"
    return page


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(renewed(file.read_text(encoding="utf-8")), encoding="utf-8")
