"""The owner's own API: connections with peers, invitations, and how the server is.

Stable: the command line and the console are built on it, and other tools may be. Every request
carries the token of the data directory.
"""
