"""How sealed bytes travel."""
