"""Find what was said, and people one knows."""

from homeserver.search.messages import MessageSearch
from homeserver.search.people import PeopleSearch

__all__ = ["MessageSearch", "PeopleSearch"]
