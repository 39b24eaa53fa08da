import re
from pathlib import Path

import pytest

from videozoom.experiments.config_files import find_config, load_config
from videozoom.experiments.config_pages import config_page
from videozoom.experiments.reference_pages import DOCS, PAGES, write_pages
from videozoom.rollout.metrics import METRICS


@pytest.mark.parametrize("name", sorted(PAGES))
def test_pages_are_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), f"{name} is out of date; run: make docs"


def test_pages_that_say_they_are_generated_are() -> None:
    says_so = {file.name for file in DOCS.glob("*.md") if "`make docs`" in file.read_text(encoding="utf-8")}
    assert says_so == PAGES.keys()


def test_pages_are_written_where_they_are_looked_for(tmp_path: Path) -> None:
    assert [path.name for path in write_pages(tmp_path / "docs")] == list(PAGES)


def table_rows(page: str) -> list[list[str]]:
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]


def test_every_setting_has_a_type_and_a_meaning() -> None:
    page = config_page()
    rows = table_rows(page)
    assert len(rows) > 150
    assert [row for row in rows if len(row) != 4 or not row[1].strip() or not row[3].strip()] == []
    assert "| `group_size` | integer, at least 2 | `8` |" in page
    assert "| `checkpoint` | text, or null | `null` |" in page
    assert "## `cold_start.stages.*`" in page
    assert "## `data.cold_start.*.generated`\n\nThe same keys as `data.train.generated`." in page


def test_the_page_has_every_key_of_a_configuration() -> None:
    page = config_page()
    values = load_config(find_config("demo")).model_dump(mode="json")
    for section, keys in values.items():
        if isinstance(keys, dict):
            assert f"## `{section}`" in page
            assert all(f"| `{key}` |" in page for key in keys if section != "data")


def test_every_metric_is_on_the_page() -> None:
    page = PAGES["metrics.md"]()
    rows = table_rows(page)
    assert all(len(row) == 5 for row in rows if row[0].strip(" `") in METRICS)
    assert {row[0].strip(" `") for row in rows} >= METRICS.keys()
    assert "`tool_use_collapse`" in page
