"""What faces other servers: consent, encrypted channel, replication."""
