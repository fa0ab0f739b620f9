"""What people on peers say about themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go on from 0002."""
    op.create_table(
        "peer_profiles",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("server", sa.String(), nullable=False),
        sa.Column("profile", sa.LargeBinary(), nullable=False),
        sa.Column("heard_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_peer_profiles")),
    )
    with op.batch_alter_table("peer_profiles", schema=None) as batch_op:
        batch_op.create_index("ix_peer_profiles_server", ["server"], unique=False)
