"""Which threads the owner's clients notify about."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go on from 0004."""
    op.create_table(
        "thread_subscriptions",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("root", sa.String(), nullable=False),
        sa.Column("is_subscribed", sa.Boolean(), nullable=False),
        sa.Column("is_automatic", sa.Boolean(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "room_id", "root", name=op.f("pk_thread_subscriptions")),
    )
    op.create_index(
        "ix_thread_subscriptions_position", "thread_subscriptions", ["user_id", "position"]
    )
