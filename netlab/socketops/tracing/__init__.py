"""Tracing: the calls on a socket as they ran, noted by the socket itself."""
