"""Sliding sync: the rooms a client looks at, and what changed in them; nothing else.

Spec: MSC4186, and its form before it was accepted, which today's clients speak.
"""
