"""Keys of devices and messages between them."""
