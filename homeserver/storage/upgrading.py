"""Bring a database's schema up to date."""

from sqlalchemy import Engine

from homeserver.storage.schema import metadata


def upgrade(engine: Engine) -> None:
    """Create what is missing. Replaced by migrations as soon as the first one exists."""
    metadata.create_all(engine)
