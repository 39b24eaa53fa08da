"""`ReadyEnvs`: many environments without a barrier: each goes on when it is ready, whatever the others do."""

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import gymnasium


@dataclass(frozen=True, slots=True)
class EnvResult:
    """What `reset` or `step` of one environment returned; `reset` has no reward and no end."""

    index: int
    """Of the environment, from 0."""
    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]

    @property
    def is_over(self) -> bool:
        """Whether the episode is."""
        return self.terminated or self.truncated


class ReadyEnvs:
    """Runs environments in threads, and hands out their results as they come.

    A vector environment waits for its slowest member in every step. Here a member that decodes, or hangs until its time
    is up, holds up nobody. Observations are handed over, not copied between processes. Episodes are begun again by
    whoever steps them, with the options they choose.

    Environments must not share what one of them may block: give each its own `VideoStore` if videos may hang.

    Args:
        makers: One function for each environment.

    Raises:
        ValueError: if there are none.

    Example:
        >>> with ReadyEnvs([make_env] * 16) as envs:
        ...     for index in range(16):
        ...         envs.reset(index, seed=index)
        ...     while envs.num_busy:
        ...         result = envs.wait()
        ...         if not result.is_over:
        ...             envs.step(result.index, act(result.observation))
    """

    def __init__(self, makers: Sequence[Callable[[], gymnasium.Env[Any, Any]]]) -> None:
        if not makers:
            raise ValueError("ReadyEnvs needs at least one environment.")
        self.envs = [make() for make in makers]
        self._threads = ThreadPoolExecutor(len(makers), thread_name_prefix="videozoom-env")
        self._results: queue.SimpleQueue[EnvResult | tuple[int, BaseException]] = queue.SimpleQueue()
        self._busy: set[int] = set()

    @property
    def num_busy(self) -> int:
        """How many results are still to come."""
        return len(self._busy)

    def reset(self, index: int, *, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin an episode of environment `index`; `wait` returns its first observation.

        Raises:
            ValueError: if the environment is busy.
        """

        def reset() -> EnvResult:
            observation, info = self.envs[index].reset(seed=seed, options=options)
            return EnvResult(index, observation, 0.0, False, False, info)

        self._start(index, reset)

    def step(self, index: int, action: Any) -> None:
        """Take a step in environment `index`; `wait` returns what it brings.

        Raises:
            ValueError: if the environment is busy.
        """

        def step() -> EnvResult:
            observation, reward, terminated, truncated, info = self.envs[index].step(action)
            return EnvResult(index, observation, float(reward), terminated, truncated, info)

        self._start(index, step)

    def wait(self, timeout_s: float | None = None) -> EnvResult:
        """Return the next result, from whichever environment has one first; raises what that environment raised.

        Raises:
            RuntimeError: if no environment is busy.
            TimeoutError: if none has a result in time.
        """
        if not self._busy:
            raise RuntimeError("No environment is busy: call reset() or step() before wait().")
        try:
            result = self._results.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError(f"None of {len(self._busy)} environments had a result within {timeout_s:g} s.") from None
        if isinstance(result, EnvResult):
            self._busy.remove(result.index)
            return result
        index, error = result
        self._busy.remove(index)
        raise error

    def close(self) -> None:
        """Wait for what is under way and close the environments."""
        self._threads.shutdown()
        for env in self.envs:
            env.close()  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, index: int, work: Callable[[], EnvResult]) -> None:
        if index in self._busy:
            raise ValueError(f"Environment {index} is busy: wait for its result before its next step.")
        self._busy.add(index)
        self._threads.submit(self._run, index, work)

    def _run(self, index: int, work: Callable[[], EnvResult]) -> None:
        try:
            self._results.put(work())
        except BaseException as error:
            self._results.put((index, error))
