"""Short programs that use the environment from outside; each is read from top to bottom and run with `python -m`."""
