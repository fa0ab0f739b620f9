"""Of which run a session is, the receipts of frames, and what was deposited with whom."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go on from 0005."""
    with op.batch_alter_table("channels", schema=None) as batch_op:
        batch_op.add_column(sa.Column("session_run", sa.LargeBinary(), nullable=True))
        batch_op.add_column(sa.Column("receipt", sa.LargeBinary(), nullable=True))
        batch_op.add_column(sa.Column("life", sa.LargeBinary(), nullable=True))

    with op.batch_alter_table("deposit_rounds", schema=None) as batch_op:
        batch_op.add_column(sa.Column("deposited", sa.String(), nullable=True))
