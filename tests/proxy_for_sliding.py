"""The checking proxy, told what answers of sliding sync look like; run as a program.

Its first argument is the proxy's own program, the others are for that.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests import sliding_schema


def _load(program: str) -> Any:
    spec = importlib.util.spec_from_file_location("checking_proxy_program", program)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _knowing_sliding_sync(proxy: Any) -> Any:
    load = proxy.load_endpoints

    def load_all() -> list[Any]:
        found: list[Any] = load()
        for path in (sliding_schema.ACCEPTED, sliding_schema.BEFORE):
            schemas = {"200": sliding_schema.schema_of(path)}
            found.append(proxy.Endpoint("POST", path, "MSC4186", False, "", schemas))
        return found

    return load_all


if __name__ == "__main__":
    program = _load(sys.argv.pop(1))
    program.load_endpoints = _knowing_sliding_sync(program)
    program.main()
