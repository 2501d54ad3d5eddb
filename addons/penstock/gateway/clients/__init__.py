"""The endpoint: its clients, and what each is told."""
