"""What faces the owner: the Matrix client-server API and the admin API."""
