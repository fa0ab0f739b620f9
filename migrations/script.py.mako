"""${message.capitalize().replace("_", " ")}."""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go on from ${down_revision or "an empty database"}."""
    ${upgrades if upgrades else "pass"}
