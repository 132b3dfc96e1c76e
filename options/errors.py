"""Errors that end a command with plain lines for the user. Imports nothing."""


class UserError(ValueError):
    """A user's mistake. Commands print its lines, without a traceback, and exit with status 2."""

    exit_status = 2
    of_all = False
    """Whether all processes of a run have it, so that one of them tells it."""

    def __init__(self, *lines: str):
        super().__init__("\n".join(lines))


class Failure(Exception):
    """Ends a command; its text is one line for the user, without a traceback."""

    exit_status = 1
    of_all = False
    """Whether all processes of a run have it, so that one of them tells it."""


class SaveError(Failure):
    """A file could not be written; an older file of the same name is unchanged."""


class Diverged(Failure):
    """Training no longer gives finite numbers."""

    of_all = True


class Interrupted(Failure):
    """The run was asked to stop."""

    of_all = True

    def __init__(self, name: str, number: int):
        super().__init__(f"stopped by {name}")
        self.exit_status = 128 + number  # as shells report a signal


class InterruptedAtOnce(KeyboardInterrupt):
    """A command was asked to end by a signal other than Ctrl+C. No error: what handles those must not stop it."""

    def __init__(self, number: int):
        super().__init__()
        self.exit_status = 128 + number
