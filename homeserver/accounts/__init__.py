"""The owner: sessions, devices, profile and account data."""
