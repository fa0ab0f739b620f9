"""Starts a server whose clock is some days ahead: `days_ahead.py DAYS run …`.

Clients that cannot run on simulated time see what weeks do to servers. Run it in place of
`python -m homeserver`.
"""

import sys

from homeserver.cli import main
from homeserver.ports import SystemClock

_DAY_MS = 86_400_000

if __name__ == "__main__":
    ahead_ms = int(sys.argv.pop(1)) * _DAY_MS
    now_ms = SystemClock.now_ms
    SystemClock.now_ms = lambda self: now_ms(self) + ahead_ms  # type: ignore[method-assign]
    main()
