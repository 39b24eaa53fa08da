"""One module per command: `add(commands)` describes it to the parser, which calls what it sets as `run`.

All of them are light: what is heavy is imported when a command runs, so that `--help` answers at once.
"""
