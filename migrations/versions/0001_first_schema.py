"""First schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go on from an empty database."""
    op.create_table(
        "access_tokens",
        sa.Column("access_hash", sa.LargeBinary(), nullable=False),
        sa.Column("refresh_hash", sa.LargeBinary(), nullable=True),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("replaces", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("access_hash", name=op.f("pk_access_tokens")),
        sa.UniqueConstraint("refresh_hash", name=op.f("uq_access_tokens_refresh_hash")),
    )
    with op.batch_alter_table("access_tokens", schema=None) as batch_op:
        batch_op.create_index("ix_access_tokens_device", ["user_id", "device_id"], unique=False)

    op.create_table(
        "account_data",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "room_id", "type", name=op.f("pk_account_data")),
    )
    with op.batch_alter_table("account_data", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_account_data_position"), ["position"], unique=False)

    op.create_table(
        "audit",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("server_name", sa.String(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("how", sa.String(), nullable=False),
        sa.Column("standing_before", sa.String(), nullable=False),
        sa.Column("standing", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_node_id"), ["node_id"], unique=False)

    op.create_table(
        "channels",
        sa.Column("peer", sa.String(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("highest_epoch", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.LargeBinary(), nullable=False),
        sa.Column("session", sa.LargeBinary(), nullable=True),
        sa.Column("previous_epoch", sa.BigInteger(), nullable=True),
        sa.Column("previous_session", sa.LargeBinary(), nullable=True),
        sa.Column("their_olm_key", sa.String(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.Column("acknowledged", sa.BigInteger(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("received_since_sent", sa.BigInteger(), nullable=False),
        sa.Column("our_address", sa.LargeBinary(), nullable=False),
        sa.Column("our_door_key", sa.LargeBinary(), nullable=False),
        sa.Column("their_address", sa.LargeBinary(), nullable=False),
        sa.Column("their_door_key", sa.LargeBinary(), nullable=False),
        sa.Column("routes", sa.LargeBinary(), nullable=False),
        sa.Column("routes_sequence", sa.BigInteger(), nullable=False),
        sa.Column("told_routes", sa.LargeBinary(), nullable=False),
        sa.Column("told_sequence", sa.BigInteger(), nullable=False),
        sa.Column("told_card", sa.BigInteger(), nullable=False),
        sa.Column("keys_note", sa.LargeBinary(), nullable=True),
        sa.Column("keys_nonce", sa.String(), nullable=True),
        sa.Column("answer_nonce", sa.String(), nullable=True),
        sa.Column("wants_repair", sa.Boolean(), nullable=False),
        sa.Column("is_restored", sa.Boolean(), nullable=False),
        sa.Column("regressions", sa.Integer(), nullable=False),
        sa.Column("regressed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("peer", name=op.f("pk_channels")),
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
    )
    op.create_table(
        "cross_signing_keys",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("usage", sa.String(), nullable=False),
        sa.Column("key_json", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "usage", name=op.f("pk_cross_signing_keys")),
    )
    op.create_table(
        "device_keys",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("key_json", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "device_id", name=op.f("pk_device_keys")),
    )
    op.create_table(
        "device_lists",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("server_name", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_device_lists")),
    )
    with op.batch_alter_table("device_lists", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_device_lists_position"), ["position"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_device_lists_server_name"), ["server_name"], unique=False
        )

    op.create_table(
        "devices",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("display_name", sa.String(), nullable=True),
        sa.Column("last_seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "device_id", name=op.f("pk_devices")),
    )
    op.create_table(
        "events",
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("version_id", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("depth", sa.BigInteger(), nullable=False),
        sa.Column("is_ours", sa.Boolean(), nullable=False),
        sa.Column("is_rejected", sa.Boolean(), nullable=False),
        sa.Column("is_soft_failed", sa.Boolean(), nullable=False),
        sa.Column("follows_gap", sa.Boolean(), nullable=False),
        sa.Column("state_before", sa.BigInteger(), nullable=True),
        sa.Column("state_after", sa.BigInteger(), nullable=True),
        sa.Column("room_state_after", sa.BigInteger(), nullable=True),
        sa.Column("redacted_by", sa.String(), nullable=True),
        sa.Column("transaction_device", sa.String(), nullable=True),
        sa.Column("transaction_id", sa.String(), nullable=True),
        sa.Column("pdu", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_events")),
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index("ix_events_position", ["position"], unique=False)
        batch_op.create_index(
            "ix_events_room_timeline", ["room_id", "position", "rank"], unique=False
        )
        batch_op.create_index(
            "ix_events_transaction", ["transaction_device", "transaction_id"], unique=False
        )

    op.create_table(
        "fallback_keys",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("algorithm", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("uploaded_at", sa.BigInteger(), nullable=False),
        sa.Column("is_used", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "device_id", "algorithm", name=op.f("pk_fallback_keys")),
    )
    op.create_table(
        "filters",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("filter_id", sa.String(), nullable=False),
        sa.Column("definition", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "filter_id", name=op.f("pk_filters")),
    )
    op.create_table(
        "gaps",
        sa.Column("missing_event_id", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("room_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("missing_event_id", "event_id", name=op.f("pk_gaps")),
    )
    with op.batch_alter_table("gaps", schema=None) as batch_op:
        batch_op.create_index("ix_gaps_event", ["event_id"], unique=False)

    op.create_table(
        "group_messages",
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("message_index", sa.Integer(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("room_id", "position", name=op.f("pk_group_messages")),
    )
    op.create_table(
        "group_sessions",
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("run", sa.LargeBinary(), nullable=False),
        sa.Column("keyed_by", sa.String(), nullable=False),
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("session_key", sa.LargeBinary(), nullable=False),
        sa.Column("session", sa.LargeBinary(), nullable=False),
        sa.Column("audience", sa.LargeBinary(), nullable=False),
        sa.Column("next_index", sa.Integer(), nullable=False),
        sa.Column("last_position", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("room_id", name=op.f("pk_group_sessions")),
    )
    op.create_table(
        "group_shares",
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("peer", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("room_id", "peer", name=op.f("pk_group_shares")),
    )
    op.create_table(
        "handshakes",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("intake", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("server_name", sa.String(), nullable=False),
        sa.Column("is_repair", sa.Boolean(), nullable=False),
        sa.Column("request_hash", sa.String(), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("accept", sa.LargeBinary(), nullable=False),
        sa.Column("prove", sa.LargeBinary(), nullable=False),
        sa.Column("ready", sa.LargeBinary(), nullable=False),
        sa.Column("secrets", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_handshakes")),
    )
    with op.batch_alter_table("handshakes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_handshakes_intake"), ["intake"], unique=False)
        batch_op.create_index(batch_op.f("ix_handshakes_node_id"), ["node_id"], unique=False)

    op.create_table(
        "in_flight",
        sa.Column("peer", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("attachment", sa.LargeBinary(), nullable=False),
        sa.Column("olm_kind", sa.Integer(), nullable=False),
        sa.Column("olm", sa.LargeBinary(), nullable=False),
        sa.Column("group_messages", sa.LargeBinary(), nullable=False),
        sa.Column("settles", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("peer", name=op.f("pk_in_flight")),
    )
    op.create_table(
        "inbound_groups",
        sa.Column("peer", sa.String(), nullable=False),
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("session", sa.LargeBinary(), nullable=True),
        sa.Column("next_index", sa.Integer(), nullable=False),
        sa.Column("used_in", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("peer", "session_id", name=op.f("pk_inbound_groups")),
    )
    with op.batch_alter_table("inbound_groups", schema=None) as batch_op:
        batch_op.create_index("ix_inbound_groups_used", ["peer", "used_in"], unique=False)

    op.create_table(
        "inbox",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("peer", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_inbox")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("inbox", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_inbox_peer"), ["peer"], unique=False)

    op.create_table(
        "invitations",
        sa.Column("intake", sa.String(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("ticket", sa.String(), nullable=False),
        sa.Column("how", sa.String(), nullable=False),
        sa.Column("asks_owner", sa.Boolean(), nullable=False),
        sa.Column("expected", sa.String(), nullable=True),
        sa.Column("room_id", sa.String(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("request_hash", sa.String(), nullable=True),
        sa.Column("is_warned", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("intake", name=op.f("pk_invitations")),
    )
    op.create_table(
        "key_backup_keys",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("first_message_index", sa.BigInteger(), nullable=False),
        sa.Column("forwarded_count", sa.BigInteger(), nullable=False),
        sa.Column("is_verified", sa.Boolean(), nullable=False),
        sa.Column("session", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(
            "user_id", "version", "room_id", "session_id", name=op.f("pk_key_backup_keys")
        ),
    )
    op.create_table(
        "key_backups",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("algorithm", sa.String(), nullable=False),
        sa.Column("auth_data", sa.LargeBinary(), nullable=False),
        sa.Column("etag", sa.BigInteger(), nullable=False),
        sa.Column("is_deleted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "version", name=op.f("pk_key_backups")),
    )
    op.create_table(
        "key_signatures",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("signer_id", sa.String(), nullable=False),
        sa.Column("signing_key_id", sa.String(), nullable=False),
        sa.Column("signature", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint(
            "user_id", "key_id", "signer_id", "signing_key_id", name=op.f("pk_key_signatures")
        ),
    )
    op.create_table(
        "known_cards",
        sa.Column("server_name", sa.String(), nullable=False),
        sa.Column("proof", sa.LargeBinary(), nullable=False),
        sa.Column("learned_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("server_name", name=op.f("pk_known_cards")),
    )
    op.create_table(
        "media",
        sa.Column("server_name", sa.String(), nullable=False),
        sa.Column("media_id", sa.String(), nullable=False),
        sa.Column("file_id", sa.String(), nullable=False),
        sa.Column("content_type", sa.String(), nullable=False),
        sa.Column("filename", sa.String(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("stored_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("server_name", "media_id", name=op.f("pk_media")),
    )
    op.create_table(
        "memberships",
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("server", sa.String(), nullable=False),
        sa.Column("membership", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("display_name", sa.String(), nullable=True),
        sa.Column("avatar_url", sa.String(), nullable=True),
        sa.Column("is_forgotten", sa.Boolean(), nullable=False),
        sa.Column("outside_state", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("room_id", "user_id", name=op.f("pk_memberships")),
    )
    with op.batch_alter_table("memberships", schema=None) as batch_op:
        batch_op.create_index("ix_memberships_room", ["room_id", "membership"], unique=False)
        batch_op.create_index("ix_memberships_user", ["user_id", "membership"], unique=False)

    op.create_table(
        "notices",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("is_told", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_notices")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("notices", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_notices_node_id"), ["node_id"], unique=False)

    op.create_table(
        "one_time_keys",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("algorithm", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("uploaded_at", sa.BigInteger(), nullable=False),
        sa.Column("reserved_for", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint(
            "user_id", "device_id", "algorithm", "key_id", name=op.f("pk_one_time_keys")
        ),
    )
    with op.batch_alter_table("one_time_keys", schema=None) as batch_op:
        batch_op.create_index(
            "ix_one_time_keys_next",
            ["user_id", "device_id", "algorithm", "uploaded_at"],
            unique=False,
        )

    op.create_table(
        "outbox_items",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("peer", sa.String(), nullable=False),
        sa.Column("lane", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("noted_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_outbox_items")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("outbox_items", schema=None) as batch_op:
        batch_op.create_index("ix_outbox_items_lane", ["peer", "lane", "number"], unique=False)

    op.create_table(
        "outbox_losses",
        sa.Column("peer", sa.String(), nullable=False),
        sa.Column("lane", sa.String(), nullable=False),
        sa.Column("lost", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("peer", "lane", name=op.f("pk_outbox_losses")),
    )
    op.create_table(
        "outbox_newest",
        sa.Column("peer", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("edu", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("peer", "key", name=op.f("pk_outbox_newest")),
    )
    op.create_table(
        "outbox_rooms",
        sa.Column("peer", sa.String(), nullable=False),
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("acknowledged", sa.BigInteger(), nullable=False),
        sa.Column("queued", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("peer", "room_id", name=op.f("pk_outbox_rooms")),
    )
    op.create_table(
        "peers",
        sa.Column("server_name", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("standing", sa.String(), nullable=False),
        sa.Column("standing_before", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("proof", sa.LargeBinary(), nullable=False),
        sa.Column("grants", sa.LargeBinary(), nullable=False),
        sa.Column("granted", sa.LargeBinary(), nullable=False),
        sa.Column("inviter", sa.String(), nullable=False),
        sa.Column("how", sa.String(), nullable=False),
        sa.Column("room_id", sa.String(), nullable=True),
        sa.Column("paused_because", sa.String(), nullable=True),
        sa.Column("alarm", sa.String(), nullable=True),
        sa.Column("connected_at", sa.BigInteger(), nullable=True),
        sa.Column("heard_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("server_name", name=op.f("pk_peers")),
        sa.UniqueConstraint("node_id", name=op.f("uq_peers_node_id")),
    )
    op.create_table(
        "presence",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("status_msg", sa.String(), nullable=True),
        sa.Column("last_active_at", sa.BigInteger(), nullable=False),
        sa.Column("is_currently_active", sa.Boolean(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_presence")),
    )
    with op.batch_alter_table("presence", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_presence_position"), ["position"], unique=False)

    op.create_table(
        "receipts",
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("thread_id", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("read_at", sa.BigInteger(), nullable=False),
        sa.Column("event_position", sa.BigInteger(), nullable=True),
        sa.Column("event_rank", sa.Integer(), nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "room_id", "user_id", "kind", "thread_id", name=op.f("pk_receipts")
        ),
    )
    with op.batch_alter_table("receipts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_receipts_position"), ["position"], unique=False)

    op.create_table(
        "redactions",
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("redacts", sa.String(), nullable=False),
        sa.Column("room_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_redactions")),
    )
    with op.batch_alter_table("redactions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_redactions_redacts"), ["redacts"], unique=False)

    op.create_table(
        "relations",
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("relates_to", sa.String(), nullable=False),
        sa.Column("rel_type", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("sender", sa.String(), nullable=False),
        sa.Column("aggregation_key", sa.String(), nullable=True),
        sa.Column("origin_server_ts", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_relations")),
    )
    with op.batch_alter_table("relations", schema=None) as batch_op:
        batch_op.create_index("ix_relations_target", ["relates_to", "rel_type"], unique=False)

    op.create_table(
        "reserved_media",
        sa.Column("media_id", sa.String(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("media_id", name=op.f("pk_reserved_media")),
    )
    op.create_table(
        "room_aliases",
        sa.Column("alias", sa.String(), nullable=False),
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("creator", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("alias", name=op.f("pk_room_aliases")),
    )
    with op.batch_alter_table("room_aliases", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_room_aliases_room_id"), ["room_id"], unique=False)

    op.create_table(
        "rooms",
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("version_id", sa.String(), nullable=False),
        sa.Column("current_state_id", sa.BigInteger(), nullable=False),
        sa.Column("extremities", sa.LargeBinary(), nullable=False),
        sa.Column("depth", sa.BigInteger(), nullable=False),
        sa.Column("is_published", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("room_id", name=op.f("pk_rooms")),
    )
    op.create_table(
        "server_stays",
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("server", sa.String(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("room_id", "server", "since", name=op.f("pk_server_stays")),
    )
    op.create_table(
        "states",
        sa.Column("state_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column("chain_length", sa.Integer(), nullable=False),
        sa.Column("changes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("state_id", name=op.f("pk_states")),
    )
    op.create_table(
        "to_device_messages",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_to_device_messages")),
    )
    with op.batch_alter_table("to_device_messages", schema=None) as batch_op:
        batch_op.create_index(
            "ix_to_device_messages_device", ["user_id", "device_id", "position"], unique=False
        )

    op.create_table(
        "used_transactions",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("txn_id", sa.String(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "user_id", "device_id", "txn_id", name=op.f("pk_used_transactions")
        ),
    )
    with op.batch_alter_table("used_transactions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_used_transactions_used_at"), ["used_at"], unique=False)

    op.create_table(
        "users",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("profile", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_users")),
    )
