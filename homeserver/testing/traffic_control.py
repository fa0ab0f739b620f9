"""What `tc` is told so that a host's own interface does what the faults of its links say.

Each host shapes what it sends: an htb class for every other host; below it a netem for what happens
to single packets, a tbf for a slow line, or a queue of length nought: a cut that nobody is told of.
"""

from collections.abc import Sequence

from homeserver.testing.network import CALM, Faults

INTERFACE = "eth0"

_EVERYTHING_ELSE = 1
_UNLIMITED = "10gbit"
_QUANTUM = 1514  # one packet at a time; otherwise tc warns about rates like ours
# A bucket of one packet: with a larger one, or htb, whole boxes would pass before it counts.
_BUCKET = 1_600
_LONGEST_QUEUE = 1_000_000  # bytes
_QUEUE = 10_000  # packets; netem's own thousand would be a loss that nobody asked for
_OVERTAKING_S = 0.05  # netem reorders by letting some packets not wait
_OF_PACKETS = ("loss", "duplication", "reordering", "corruption")


def script(ways: Sequence[tuple[str, Faults]]) -> list[str]:
    """The lines for `tc -batch` on an interface without a queue: nothing where nothing is wrong.

    `ways` are the addresses of the other hosts, each with what happens on the way there.
    """
    wrong = [(address, faults) for address, faults in ways if _is_wrong(faults)]
    if not wrong:
        return []
    lines = [
        f"qdisc add dev {INTERFACE} root handle 1: htb default {_EVERYTHING_ELSE}",
        _htb_class(_EVERYTHING_ELSE),
    ]
    for number, (address, faults) in enumerate(wrong, _EVERYTHING_ELSE + 1):
        lines += [
            _htb_class(number),
            _choice(number, address),
            f"qdisc add dev {INTERFACE} parent 1:{number:x} {_leaf(faults)}",
        ]
    return lines


def queues_for(faults: Faults) -> list[str]:
    """The kinds of queues that the kernel has to have for that."""
    if not _is_wrong(faults):
        return []
    return ["htb", _leaf(faults).split()[0]]


def _is_wrong(faults: Faults) -> bool:
    return faults.is_cut or faults.bytes_per_second is not None or _happens_to_packets(faults)


def _happens_to_packets(faults: Faults) -> bool:
    return _is_late(faults) or any(getattr(faults, name) for name in _OF_PACKETS)


def _is_late(faults: Faults) -> bool:
    """Whether somebody asked for a delay; calm takes as long as it takes in reality."""
    return faults.latency_s != CALM.latency_s or faults.jitter_s != CALM.jitter_s


def _htb_class(number: int) -> str:
    return (
        f"class add dev {INTERFACE} parent 1: classid 1:{number:x} htb rate {_UNLIMITED} "
        f"quantum {_QUANTUM}"
    )


def _choice(number: int, address: str) -> str:
    return (
        f"filter add dev {INTERFACE} parent 1: protocol ip prio 1 "
        f"u32 match ip dst {address}/32 flowid 1:{number:x}"
    )


def _leaf(faults: Faults) -> str:
    if faults.is_cut:
        return "pfifo limit 0"
    rate = "" if faults.bytes_per_second is None else f" rate {_rate(faults.bytes_per_second)}"
    if _happens_to_packets(faults):
        return f"netem limit {_QUEUE}{_netem(faults)}{rate}"
    return f"tbf{rate} burst {_BUCKET} limit {_LONGEST_QUEUE}"


def _rate(bytes_per_second: float) -> str:
    return f"{max(8, round(8 * bytes_per_second))}bit"


def _netem(faults: Faults) -> str:
    words = ""
    # The network of the simulation adds up to the whole jitter, netem up to half of it either way.
    delay = faults.latency_s + faults.jitter_s / 2 if _is_late(faults) else 0.0
    if faults.reordering:
        delay = max(delay, _OVERTAKING_S)
    if delay:
        words += f" delay {_ms(delay)} {_ms(faults.jitter_s / 2)}"
    for word, likelihood in (
        ("loss", faults.loss),
        ("duplicate", faults.duplication),
        ("reorder", faults.reordering),
        ("corrupt", faults.corruption),
    ):
        if likelihood:
            words += f" {word} {100 * likelihood:g}%"
    return words


def _ms(seconds: float) -> str:
    return f"{1_000 * seconds:g}ms"
