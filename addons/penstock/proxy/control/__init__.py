"""Whoever runs the proxy: the admin address, the admin socket, workers, containment."""
