"""A server under attack: what it does to its other clients, and whether it gets over it."""
