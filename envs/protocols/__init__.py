"""Protocols: how an observation becomes messages, and how text becomes an action."""
