"""Olm and Megolm behind a few verbs."""
