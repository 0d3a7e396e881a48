"""Talking to a server: a message and its reply, a stream, a conversation, or thousands of exchanges."""
