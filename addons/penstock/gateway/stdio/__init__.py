"""Servers over pipes: one started for one client, or behind the endpoint."""
