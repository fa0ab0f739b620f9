"""What a client has not seen yet."""
