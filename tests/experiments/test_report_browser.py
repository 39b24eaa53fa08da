"""The report in a real browser: nothing spills over, nothing is fetched, its buttons work."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Page, chromium_page
from drawn_rollouts import DrawnFrames
from fabricated_run import fabricate_run
from test_report_sections import group, probe_rows

from videozoom.experiments.report import write_report, write_reports

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = fabricate_run(tmp_path_factory.mktemp("runs") / "a-run-with-quite-a-long-name-that-does-not-break")
    with (folder / "traces.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in [*group(0), *group(1)])
    alarm = {"alarm": "no_variance", "progress/iteration": 3, "what": "All groups are alike.", "state": "on"}
    (folder / "alarms.jsonl").write_text(json.dumps(alarm) + "\n")
    (folder / "probes").mkdir()
    (folder / "probes" / "results.json").write_text(json.dumps(probe_rows()))
    write_report(folder, DrawnFrames())
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium_page(tmp_path_factory.mktemp("profile")) as page:
        yield page


def opened(page: Page, file: Path, *, width: int, is_phone: bool = False) -> None:
    page.requested.clear()
    page.errors.clear()
    page.open(file.as_uri(), width=width, is_phone=is_phone)
    page.until("document.readyState === 'complete' && !!document.querySelector('.chooser')")


SPILLS = """[...document.querySelectorAll('main *')]
  .filter((it) => it.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !it.closest('pre'))
  .filter((it) => !it.closest('.axis, svg, .differences'))
  .map((it) => `${it.tagName} ${it.className} ${it.textContent.slice(0, 40)}`)"""


@pytest.mark.parametrize(("width", "is_phone"), [(1180, False), (390, True)])
def test_nothing_spills_over_and_nothing_is_fetched(browser: Page, run_dir: Path, width: int, is_phone: bool) -> None:
    opened(browser, run_dir / "report.html", width=width, is_phone=is_phone)
    assert browser.run(SPILLS) == []
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    assert browser.errors == []
    assert [url for url in browser.requested if not url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize(("width", "is_phone"), [(1180, False), (390, True)])
def test_many_runs_fit_too(browser: Page, run_dir: Path, tmp_path: Path, width: int, is_phone: bool) -> None:
    others = [fabricate_run(tmp_path / f"run-{number}") for number in range(3)]
    page = write_reports([run_dir, *others], tmp_path / "many.html")
    opened(browser, page, width=width, is_phone=is_phone)
    assert browser.run(SPILLS) == []
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    assert browser.errors == []


def test_cards_take_the_whole_width(browser: Page, run_dir: Path) -> None:
    opened(browser, run_dir / "report.html", width=1180)
    width = "document.querySelector('{}').offsetWidth"
    for section in ("#groups", "#rollouts"):
        assert browser.run(width.format(f"{section} .card")) == browser.run(width.format(section)), section


def test_curves_are_smooth_or_raw_and_can_be_hidden(browser: Page, run_dir: Path) -> None:
    opened(browser, run_dir / "report.html", width=1180)
    shown = "getComputedStyle(document.querySelector('#curves {}')).display !== 'none'"
    assert browser.run(shown.format(".curve"))
    assert not browser.run(shown.format(".raw"))
    browser.click("#smooth")
    assert not browser.run(shown.format(".curve"))
    assert browser.run(shown.format(".raw"))
    key = ".keys button[data-style=decoupled_grpo]"
    assert browser.run(shown.format(".series.style-decoupled_grpo"))
    browser.click(key)
    assert not browser.run(shown.format(".series.style-decoupled_grpo"))
    assert browser.run(shown.format(".series.style-multi_step_grpo"))
    browser.click(key)
    assert browser.run(shown.format(".series.style-decoupled_grpo"))


def test_values_stand_beside_the_pointer(browser: Page, run_dir: Path) -> None:
    opened(browser, run_dir / "report.html", width=1180)
    left, top, width, height = browser.box("#curves figure:nth-child(2) svg.chart")
    browser._mouse("mouseMoved", (left + width - 12, top + height / 2))
    assert browser.text("#curves figure:nth-child(2) .tip").startswith("iteration 12")


def test_each_section_chooses_among_its_own_cards(browser: Page, run_dir: Path) -> None:
    opened(browser, run_dir / "report.html", width=1180)
    visible = "[...document.querySelectorAll('{} .card')].filter((it) => !it.hidden).length"
    groups, rollouts = (browser.run(visible.format(name)) for name in ("#groups", "#rollouts"))
    browser.click("#groups .chooser button[data-show=first]")
    assert 0 < browser.run(visible.format("#groups")) < groups
    assert browser.run(visible.format("#rollouts")) == rollouts
    browser.click("#groups .chooser button[data-show=all]")
    assert browser.run(visible.format("#groups")) == groups


def test_it_can_be_read_without_its_script(browser: Page, run_dir: Path, tmp_path: Path) -> None:
    markup = (run_dir / "report.html").read_text(encoding="utf-8")
    start, end = markup.index("<script>"), markup.index("</script>")
    (tmp_path / "still.html").write_text(markup[:start] + markup[end + len("</script>") :], encoding="utf-8")
    opened(browser, tmp_path / "still.html", width=1180)
    assert browser.run("[...document.querySelectorAll('.card')].every((it) => it.offsetHeight > 0)")
    assert browser.run("document.querySelectorAll('#curves .curve').length") > 10
