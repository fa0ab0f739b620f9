"""Schemas: made at once, migrated step by step, never half, never backwards."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect

from homeserver.storage import upgrading
from homeserver.storage.schema import metadata

CHECKOUT = Path(__file__).parents[2]

STEP = """
from alembic import op
import sqlalchemy as sa
revision = {revision!r}
down_revision = {before!r}
def upgrade():
    {statements}
"""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = create_engine(database_url, isolation_level="AUTOCOMMIT")
    yield made
    made.dispose()


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A history of its own: 0001 makes the table `first`."""
    scripts = tmp_path / "100% migrations"
    (scripts / "versions").mkdir(parents=True)
    shutil.copy(CHECKOUT / "migrations" / "env.py", scripts)
    monkeypatch.setattr(upgrading, "_scripts", lambda: scripts)
    add_step(scripts, 1, 'op.create_table("first", sa.Column("a", sa.Integer))')
    return scripts


def add_step(scripts: Path, number: int, statements: str) -> None:
    before = f"{number - 1:04}" if number > 1 else None
    text = STEP.format(revision=f"{number:04}", before=before, statements=statements)
    (scripts / "versions" / f"{number:04}_step.py").write_text(text)


def migrate(engine: Engine) -> None:
    with engine.connect() as connection, upgrading._transaction(connection):
        upgrading.migrate(connection)


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return upgrading.current_revision(connection)


def test_an_empty_database_gets_every_table_and_the_newest_revision(engine: Engine) -> None:
    upgrading.upgrade(engine)
    assert tables(engine) >= set(metadata.tables)
    known = upgrading.known_revisions()
    assert revision(engine) == (known[-1] if known else None)
    upgrading.upgrade(engine)


def test_a_database_that_is_behind_gets_what_it_lacks(engine: Engine, history: Path) -> None:
    migrate(engine)
    add_step(history, 2, 'op.create_table("second", sa.Column("a", sa.Integer))')
    add_step(
        history,
        3,
        'with op.batch_alter_table("first") as batch: batch.add_column(sa.Column("b", sa.Text))',
    )
    upgrading.upgrade(engine)
    assert revision(engine) == "0003"
    assert tables(engine) >= {"first", "second"}
    assert [column["name"] for column in inspect(engine).get_columns("first")] == ["a", "b"]


def test_a_migration_that_fails_leaves_everything_as_it_was(engine: Engine, history: Path) -> None:
    migrate(engine)
    add_step(history, 2, 'op.create_table("second", sa.Column("a", sa.Integer))')
    add_step(history, 3, 'op.execute("nonsense")')
    with pytest.raises(sqlalchemy.exc.DBAPIError):
        upgrading.upgrade(engine)
    assert revision(engine) == "0001"
    assert "second" not in tables(engine)


def test_a_database_of_a_newer_program_is_refused_untouched(engine: Engine, history: Path) -> None:
    migrate(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0007'")
    with pytest.raises(upgrading.DatabaseTooNew, match=r"has schema 0007; .* up to 0001"):
        upgrading.upgrade(engine)
    assert revision(engine) == "0007"


def test_revisions_are_numbered_without_a_gap_and_chained() -> None:
    known = upgrading.known_revisions()
    assert known == [f"{number:04}" for number in range(1, len(known) + 1)]


@pytest.mark.skipif(not upgrading.known_revisions(), reason="there is no migration yet")
def test_the_migrations_make_exactly_the_tables_of_the_code(engine: Engine) -> None:
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == [], "make migration name=…"


def test_alembic_is_not_imported_where_nothing_is_to_be_migrated(tmp_path: Path) -> None:
    program = (
        "import sys, sqlalchemy; from homeserver.storage import upgrading;"
        f"engine = sqlalchemy.create_engine('sqlite:///{tmp_path}/x.db',"
        " isolation_level='AUTOCOMMIT');"
        "upgrading.upgrade(engine); upgrading.upgrade(engine);"
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_events_of_the_first_schema_are_found_by_their_time(
    database_url: str, engine: Engine
) -> None:
    with engine.connect() as connection, upgrading._transaction(connection):
        command.upgrade(upgrading.alembic_config(connection), "0001")
    events = sqlalchemy.Table("events", sqlalchemy.MetaData(), autoload_with=engine)
    row = {
        "room_id": "!room",
        "version_id": "12",
        "rank": 0,
        "depth": 1,
        "is_ours": True,
        "is_rejected": False,
        "is_soft_failed": False,
        "follows_gap": False,
    }
    rows = [
        row | {"event_id": f"${number:04}", "pdu": b'{"origin_server_ts":%d}' % (1_000 + number)}
        for number in range(1_001)
    ]
    with engine.begin() as connection:
        connection.execute(sqlalchemy.insert(events), rows)
    upgrading.upgrade(engine)
    with engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT event_id, origin_server_ts FROM events ORDER BY event_id"
        ).all()
    assert [at for _, at in found] == [1_000 + number for number in range(1_001)]
