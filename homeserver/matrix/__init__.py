"""What the Matrix specification says, as pure functions of values."""
