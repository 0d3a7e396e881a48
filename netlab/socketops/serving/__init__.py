"""Serving clients: one at a time, all at once from an event loop, in a thread each, or datagram by datagram."""
