"""Turn an `async def` test into one that runs on its world's virtual time."""

import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

Story = Callable[..., Coroutine[Any, Any, None]]


def simulated(story: Story) -> Callable[..., None]:
    """Run a test coroutine in the `world` that it asks for.

    A decorator and no magic: it works whatever else runs asynchronous tests.
    """
    if "world" not in inspect.signature(story).parameters:
        raise TypeError(f"{story.__name__} has to ask for a world")

    @wraps(story)
    def test(**fixtures: Any) -> None:
        fixtures["world"].run(story(**fixtures))

    return test
