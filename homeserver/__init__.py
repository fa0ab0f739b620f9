"""The homeserver itself: rules, storage, rooms and everything the owner's clients rely on."""
