"""The owner's web console."""
