"""Tables of what came after the first schema: hidden senders, introductions, sliding sync, and more."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go on from 0001."""
    op.create_table(
        "dehydrated_devices",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("device_data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_dehydrated_devices")),
    )
    op.create_table(
        "delayed_events",
        sa.Column("delay_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("transaction_id", sa.String(), nullable=True),
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("event_type", sa.String(), nullable=False),
        sa.Column("state_key", sa.String(), nullable=True),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("delay_ms", sa.BigInteger(), nullable=False),
        sa.Column("scheduled_at", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("finalised_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("delay_id", name=op.f("pk_delayed_events")),
    )
    op.create_table(
        "deposit_rounds",
        sa.Column("peer", sa.String(), nullable=False),
        sa.Column("asked", sa.String(), nullable=True),
        sa.Column("given", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("peer", name=op.f("pk_deposit_rounds")),
    )
    op.create_table(
        "devices_behind",
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room_id", "user_id", "device_id", name=op.f("pk_devices_behind")),
    )
    op.create_table(
        "discarded_files",
        sa.Column("file_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("file_id", name=op.f("pk_discarded_files")),
    )
    op.create_table(
        "hidden_senders",
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("server", sa.String(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("is_absent", sa.Boolean(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint(
            "room_id", "server", "since", "is_absent", name=op.f("pk_hidden_senders")
        ),
    )
    op.create_table(
        "meetings",
        sa.Column("server", sa.String(), nullable=False),
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("is_theirs", sa.Boolean(), nullable=False),
        sa.Column("how", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("wished_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("server", "room_id", name=op.f("pk_meetings")),
    )
    op.create_table(
        "notice_rooms",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("read_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_notice_rooms")),
    )
    op.create_table(
        "pushers",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("app_id", sa.String(), nullable=False),
        sa.Column("pushkey", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("shown", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("told_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "app_id", "pushkey", name=op.f("pk_pushers")),
    )
    op.create_table(
        "reports",
        sa.Column("report_id", sa.Integer(), nullable=False),
        sa.Column("reported_at", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=True),
        sa.Column("room_id", sa.String(), nullable=True),
        sa.Column("event_id", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("report_id", name=op.f("pk_reports")),
    )
    op.create_table(
        "room_media",
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("server_name", sa.String(), nullable=False),
        sa.Column("media_id", sa.String(), nullable=False),
        sa.Column("is_by_uploader", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("room_id", "server_name", "media_id", name=op.f("pk_room_media")),
    )
    with op.batch_alter_table("room_media", schema=None) as batch_op:
        batch_op.create_index("ix_room_media_file", ["server_name", "media_id"], unique=False)

    op.create_table(
        "room_requests",
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("via", sa.String(), nullable=False),
        sa.Column("membership", sa.String(), nullable=False),
        sa.Column("is_agreed", sa.Boolean(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room_id", name=op.f("pk_room_requests")),
    )
    op.create_table(
        "short_tokens",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_short_tokens")),
    )
    op.create_table(
        "spent_one_time_keys",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("algorithm", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("spent_by", sa.String(), nullable=False),
        sa.Column("spent_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "user_id", "device_id", "algorithm", "key_id", name=op.f("pk_spent_one_time_keys")
        ),
    )
    with op.batch_alter_table("spent_one_time_keys", schema=None) as batch_op:
        batch_op.create_index(
            "ix_spent_one_time_keys_by",
            ["user_id", "device_id", "spent_by", "spent_at"],
            unique=False,
        )

    op.create_table(
        "stand_ins",
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("membership", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_stand_ins")),
    )
    op.create_table(
        "sync_connection_rooms",
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("is_pending", sa.Boolean(), nullable=False),
        sa.Column("told_until", sa.BigInteger(), nullable=True),
        sa.Column("timeline_limit", sa.Integer(), nullable=False),
        sa.Column("config", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "connection_id", "room_id", "is_pending", name=op.f("pk_sync_connection_rooms")
        ),
    )
    op.create_table(
        "sync_connections",
        sa.Column("connection_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("confirmed", sa.BigInteger(), nullable=False),
        sa.Column("latest", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
        sa.Column("configs", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("connection_id", name=op.f("pk_sync_connections")),
    )
    with op.batch_alter_table("sync_connections", schema=None) as batch_op:
        batch_op.create_index("ix_sync_connections_device", ["user_id", "device_id"], unique=False)

    op.create_table(
        "to_device_losses",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("lost", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "device_id", name=op.f("pk_to_device_losses")),
    )
    op.create_table(
        "waiting_events",
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("peer", sa.String(), nullable=False),
        sa.Column("depth", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("pdu", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_waiting_events")),
    )
    with op.batch_alter_table("waiting_events", schema=None) as batch_op:
        batch_op.create_index("ix_waiting_events_room", ["room_id", "peer"], unique=False)

    op.create_table(
        "wishes",
        sa.Column("asker", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("asker", "target", "room_id", name=op.f("pk_wishes")),
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.add_column(sa.Column("detail", sa.String(), nullable=True))

    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.add_column(sa.Column("origin_server_ts", sa.BigInteger(), nullable=True))
        batch_op.create_index("ix_events_room_time", ["room_id", "origin_server_ts"], unique=False)

    with op.batch_alter_table("fallback_keys", schema=None) as batch_op:
        batch_op.add_column(sa.Column("previous_key_id", sa.String(), nullable=True))

    with op.batch_alter_table("handshakes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("room_id", sa.String(), nullable=True))

    with op.batch_alter_table("invitations", schema=None) as batch_op:
        batch_op.add_column(sa.Column("grants", sa.LargeBinary(), nullable=True))

    with op.batch_alter_table("memberships", schema=None) as batch_op:
        batch_op.add_column(sa.Column("outside_via", sa.String(), nullable=True))

    with op.batch_alter_table("notices", schema=None) as batch_op:
        batch_op.add_column(sa.Column("event_id", sa.String(), nullable=True))
        batch_op.create_index(batch_op.f("ix_notices_event_id"), ["event_id"], unique=False)

    with op.batch_alter_table("to_device_messages", schema=None) as batch_op:
        batch_op.add_column(sa.Column("peer", sa.String(), nullable=True))
    _fill_in_times()


def _fill_in_times() -> None:
    """Find events by their time, and let them expire, whenever they came."""
    connection = op.get_bind()
    events = sa.table(
        "events", sa.column("event_id"), sa.column("pdu"), sa.column("origin_server_ts")
    )
    following = sa.select(events.c.event_id, events.c.pdu).order_by(events.c.event_id).limit(500)
    fill_in = (
        sa.update(events)
        .where(events.c.event_id == sa.bindparam("id"))
        .values(origin_server_ts=sa.bindparam("at"))
    )
    last = ""
    while rows := connection.execute(following.where(events.c.event_id > last)).all():
        times = [
            {"id": row.event_id, "at": json.loads(bytes(row.pdu))["origin_server_ts"]}
            for row in rows
        ]
        connection.execute(fill_in, times)
        last = rows[-1].event_id
