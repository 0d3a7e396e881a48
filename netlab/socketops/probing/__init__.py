"""Probing: what a connection attempt, a datagram or an ICMP echo meets, and the evidence for it."""
