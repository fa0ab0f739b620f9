"""Introductions: people who meet in a room get connected for that room through a common peer.

Nothing passes before both owners agreed; the common peer passes notes on and holds no key.
"""
