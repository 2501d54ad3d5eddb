"""The endpoint's other side: sessions with the servers behind it."""
