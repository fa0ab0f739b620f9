"""Many values in one parameter: a statement that names thousands is slow to spell out."""

from collections.abc import Iterable
from typing import Any

import orjson
from sqlalchemy import BindParameter, ColumnElement, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class _Listed(FunctionElement[str]):
    """The texts in a JSON list."""

    inherit_cache = True
    name = "listed"


@compiles(_Listed, "sqlite")
def _in_sqlite(element: _Listed, compiler: Any, **options: Any) -> str:
    listed = compiler.process(element.clauses, **options)
    return f"(SELECT value FROM json_each({listed}))"  # noqa: S608 - the name of a parameter


@compiles(_Listed, "postgresql")
def _in_postgres(element: _Listed, compiler: Any, **options: Any) -> str:
    listed = compiler.process(element.clauses, **options)
    return f"(SELECT jsonb_array_elements_text(CAST({listed} AS jsonb)))"


def among(column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """Whether a column has one of the values of a parameter, to be given as `values` makes it."""
    parameter: BindParameter[str] = bindparam(name)
    return column.op("IN", is_comparison=True)(_Listed(parameter))


def values(several: Iterable[str]) -> str:
    """Values as `among` wants them."""
    return orjson.dumps(list(several)).decode()
