"""What a measurement of scale found: two tables, and a plot."""

from collections.abc import Sequence

from homeserver.testing import plots, scale_fit
from homeserver.testing.plots import Axes, Series
from homeserver.testing.scale import Measured

Rows = list[tuple[str, ...]]


def table(runs: Sequence[Measured]) -> Rows:
    """One line for each run, the head first. Checking afterwards is not counted."""
    phases = [one.name for one in runs[0].counted]
    head = (
        "servers",
        "connections each",
        "ratchets",
        *(f"{name}, s" for name in phases),
        "all, s",
        "processor, s",
        "MiB a server",
        "MiB at most",
        "boxes a delivery",
        "bytes a delivery",
    )
    return [head, *(_line(run, phases) for run in runs)]


def fit_table(runs: Sequence[Measured]) -> Rows:
    """What one server costs, by its own connections and by how many servers there are."""
    head = ("a server's", "by itself", "for each own connection", "for each server anywhere")
    lines = [
        (
            f"{fit.name}, {fit.unit}",
            f"{fit.base:.1f}",
            f"{fit.per_connection:.2f}",
            f"{fit.per_server:.4f}",
        )
        for fit in scale_fit.fits(runs)
    ]
    return [head, *lines]


def drawing(runs: Sequence[Measured]) -> str:
    """Each cost of one server over its connections; a colour for each number of servers."""
    fits = {fit.name: fit for fit in scale_fit.fits(runs)} if scale_fit.can_fit(runs) else {}
    sizes = sorted({run.plan.servers for run in runs})
    shown: list[tuple[Axes, list[Series]]] = []
    for name, unit, cost in scale_fit.COSTS:
        series = [
            Series(
                f"{size} servers",
                [
                    (scale_fit.connections_of(run), scale_fit.per_server(run, cost))
                    for run in runs
                    if run.plan.servers == size
                ],
            )
            for size in sizes
        ]
        if fits:
            most = max(scale_fit.connections_of(run) for run in runs)
            ends = [(x, fits[name].at(x, sizes[-1])) for x in (0.0, most)]
            series.append(Series("the fit", ends, is_joined=True))
        shown.append((Axes(f"A server's {name}", "its connections", unit), series))
    return plots.stacked(shown, is_file=True)


def _line(run: Measured, phases: Sequence[str]) -> tuple[str, ...]:
    counted = [run.phase(name) for name in phases]
    talk = run.phase("talk")
    return (
        str(run.plan.servers),
        f"{scale_fit.connections_of(run):.1f}",
        "real" if run.plan.is_encrypted else "stand-in",
        *(f"{one.wall_s:.1f}" for one in counted),
        f"{run.wall_s:.1f}",
        f"{sum(one.cpu_s for one in counted):.1f}",
        f"{run.servers_mib / run.plan.servers:.2f}",
        f"{run.peak_mib:.0f}",
        f"{talk.boxes / run.messages:.2f}",
        f"{talk.bytes / run.messages:.0f}",
    )
