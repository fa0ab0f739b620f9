"""The form of sliding sync's answers, which is in no version of the specification yet.

`sliding_answer.json` has it twice: as accepted, and as clients speak it today.
"""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

ACCEPTED = "/_matrix/client/v4/sync"
BEFORE = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"

_FILE = Path(__file__).with_name("sliding_answer.json")
_SCHEMA: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))


def schema_of(path: str) -> dict[str, Any]:
    """The schema of what is answered at one of the two addresses."""
    form = {ACCEPTED: "accepted", BEFORE: "before"}[path]
    return _SCHEMA | {"$ref": f"#/$defs/{form}"}


_VALIDATORS = {path: Draft202012Validator(schema_of(path)) for path in (ACCEPTED, BEFORE)}


def check(path: str, answer: Any) -> None:
    """Fail with the first thing in an answer that has another form."""
    _VALIDATORS[path].validate(answer)
