"""Starting Ray on this machine, quietly, and only when there are other processes to start."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ray_runtime(num_workers: int) -> Iterator[None]:
    """Keep Ray running while the block does; nothing is started without workers or when Ray runs already.

    Args:
        num_workers: Processes the block will start, each counted as one CPU whatever the machine has: the user asked
            for them.
    """
    if not num_workers:
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    ray.init(
        num_cpus=num_workers + 1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        yield
    finally:
        ray.shutdown()


def quiet_rllib() -> None:
    """Silence RLlib's notes on its own API; errors still show.

    Only after RLlib was imported: importing it sets its own levels.
    """
    for name in ("ray.rllib", "ray.tune", "ray._common.deprecation"):
        logging.getLogger(name).setLevel(logging.ERROR)
