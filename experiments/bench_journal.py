"""`Journal`: the measurements of a run, each on disk when it is taken, so that a run that was killed can go on."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from videozoom.envs.json_lines import JsonLinesWriter, read_json_lines
from videozoom.experiments.bench_process import Job, Measurement

Outcome = Measurement | str
"""What was measured, or why that failed."""


@dataclass(frozen=True, slots=True)
class _Content:
    about: dict[str, Any]
    kept: dict[str, Any]
    outcomes: dict[tuple[str, int], Outcome]


class Journal:
    """A file with a header and one line for each measurement.

    One that another run left is continued when its header says the same, and replaced otherwise.
    """

    def __init__(
        self, path: Path, about: Mapping[str, Any], kept: Mapping[str, Any], *, overwrite: bool = False
    ) -> None:
        """Read what is there, and open the file for more.

        Args:
            path: the file; its folder exists.
            about: what measurements depend on; they are continued only if nothing of it has changed.
            kept: what else the run goes by, which stays what it was when the run began.
            overwrite: whether to begin anew in any case.

        Raises:
            OSError: the file cannot be written.
        """
        self._path = path
        about = json.loads(json.dumps(about))
        found = None if overwrite else _read(path)
        is_continued = found is not None and found.about == about
        self.is_replaced = path.exists() and not is_continued
        """Whether there were measurements that do not count."""
        if found is None or not is_continued:
            path.unlink(missing_ok=True)
            found = _Content(dict(about), dict(kept), {})
        self.kept, self._outcomes = found.kept, found.outcomes
        self._writer = JsonLinesWriter(path)
        if not is_continued:
            self._writer.append([{"about": about, "kept": self.kept}])

    def get(self, job: Job, name: str, number: int) -> Outcome | None:
        """Return what came of a job's run of this number; `None` if that was not done."""
        return self._outcomes.get((_key(job, name), number))

    def add(self, job: Job, name: str, number: int, outcome: Outcome) -> None:
        """Write down what came of a run; when it returns, the end of this process loses nothing."""
        result = {"error": outcome} if isinstance(outcome, str) else {"measurement": asdict(outcome)}
        self._writer.append([{"job": _key(job, name), "name": name, "number": number, **result}])
        self._outcomes[_key(job, name), number] = outcome

    def remove(self) -> None:
        """Remove the file: the run is complete."""
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def digest(*parts: object) -> str:
    """Return a short name of some values, the same in every process."""
    return sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]


def _key(job: Job, name: str) -> str:
    return digest(name, repr(job))


def _read(path: Path) -> _Content | None:
    """Return what is in a file; `None` if there is none, or if it makes no sense."""
    with suppress(FileNotFoundError, ValueError, LookupError, TypeError):
        header, *rows = read_json_lines(path)
        return _Content(header["about"], header["kept"], {(row["job"], row["number"]): _outcome(row) for row in rows})
    return None


def _outcome(row: Mapping[str, Any]) -> Outcome:
    return row["error"] if "error" in row else Measurement(**row["measurement"])
