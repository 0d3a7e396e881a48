"""netlab: a command-line laboratory for sockets."""

__version__ = "0.1.0"
