"""Sync: what a device is told, and when."""
