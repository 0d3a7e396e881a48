"""The fault lab: servers that misbehave on purpose, imported only where a fault was asked for."""
