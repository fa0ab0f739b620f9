"""What belongs to a room: appending events, sending, membership, history."""
