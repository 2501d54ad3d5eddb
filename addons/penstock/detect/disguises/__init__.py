"""What hides a text from a pattern, taken off: encodings, invisible characters, odd spelling."""
