"""Processes that ask a cache at the same moment, for tests."""

import subprocess
import sys
from collections.abc import Sequence

_WAIT = 'print("ready", flush=True); input()\n'


class Asking:
    """A process that runs a program: first its preparation, then, when told so, the rest."""

    def __init__(self, preparation: str, program: str, *arguments: object) -> None:
        code = f"import sys\n{preparation}\n{_WAIT}{program}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """Return the next line it prints; empty if it ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go(self) -> None:
        """Let it run the rest."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> tuple[int, list[str]]:
        """Wait for its end and return its exit code and the lines it printed."""
        output, _ = self.process.communicate(timeout=120)
        return self.process.returncode, output.splitlines()


def ask_at_once(processes: Sequence[Asking]) -> list[list[str]]:
    """Let all run when all are ready, and return the lines each printed."""
    assert {process.line() for process in processes} == {"ready"}
    for process in processes:
        process.go()
    ended = [process.end() for process in processes]
    assert {code for code, _ in ended} == {0}
    return [lines for _, lines in ended]
