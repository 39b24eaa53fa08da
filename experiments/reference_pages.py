"""Writes the generated pages of `experiments/docs/`: `make docs`."""

from collections.abc import Callable
from pathlib import Path

from videozoom.experiments.config_pages import config_page
from videozoom.experiments.metric_pages import metric_page

DOCS = Path(__file__).parent / "docs"

PAGES: dict[str, Callable[[], str]] = {"configuration.md": config_page, "metrics.md": metric_page}
"""What each page is made by."""


def write_pages(folder: Path = DOCS) -> list[Path]:
    """Write all pages and return where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")
    return [folder / name for name in PAGES]


if __name__ == "__main__":
    for path in write_pages():
        print(path)
