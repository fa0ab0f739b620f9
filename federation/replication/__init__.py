"""Rooms, keys and updates exchanged with peers."""
