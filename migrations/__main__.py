"""`python -m migrations NAME`: write the next migration, from what changed in the tables."""

import sys
import tempfile
from pathlib import Path

from alembic import command
from sqlalchemy import create_engine

from homeserver.storage import upgrading


def write_next(name: str) -> None:
    """Compare what the migrations make with the tables in the code; write the difference down."""
    number = len(upgrading.known_revisions()) + 1
    with tempfile.TemporaryDirectory() as directory:
        engine = create_engine(f"sqlite:///{Path(directory) / 'empty.db'}")
        with engine.begin() as connection:
            configuration = upgrading.alembic_config(connection)
            command.upgrade(configuration, "head")
            command.revision(configuration, name, autogenerate=True, rev_id=f"{number:04}")
        engine.dispose()


if __name__ == "__main__":
    write_next(sys.argv[1])
