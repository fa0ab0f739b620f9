"""Builds and runs the whole server; the only place that knows every folder."""
