"""The user's mistakes, as sentences."""


class UserError(Exception):
    """Something the user asked for cannot be done.

    The message is one sentence with the bad value, what is allowed and what to do. Commands print it without a
    traceback and exit with code 2.
    """
