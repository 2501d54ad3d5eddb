"""``when:`` conditions, and what they can read and call."""
