"""`bench report` opened in a real browser: sort, filter, hover, keyboard, the address, no error, no request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.report import synthetic
from tests.report.browser import Browser, chromium, complaints, requests, wait
from tests.report.conftest import Bench

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that `bench report` writes, as `make demo` does."""
    from harness import cli

    folder = tmp_path_factory.mktemp("report")
    stream = [synthetic.staged(study, 2 + study, 6, spec={"hardware": "cpu-streams"}) for study in range(3)]
    runs = synthetic.write(folder / "runs", [*synthetic.field(), *stream])
    out = folder / "report.html"
    arguments = ["report", str(out), "--runs", str(runs), "--results", str(folder / "none"), "--reference", "alpha"]
    assert cli.invoke(arguments) == 0
    return out


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture
def opened(browser: Browser, report: Path) -> Iterator[Callable[[str], None]]:
    """Open the report at a hash and wait until it is drawn; afterwards nothing was complained of or asked for."""
    browser.get_log("browser"), browser.get_log("performance")

    def go(fragment: str = "") -> None:
        browser.open(report.as_uri() + fragment, "document.body.dataset.drawn >= 1")

    yield go
    assert complaints(browser) == []
    urls = set(requests(browser))
    assert urls, "the log of requests is empty"
    local = ("data:", "blob:", "about:", report.as_uri())
    assert [url for url in urls if not url.startswith(local)] == []


def rows(browser: Browser) -> list[str]:
    names: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('#board tbody tr')].map(r => r.dataset.submission.split('@')[0])"
    )
    return names


def test_sort_filter_and_address(browser: Browser, opened: Callable[..., None]) -> None:
    opened()
    alpha, beta, gamma = synthetic.SPEED
    assert rows(browser) == [alpha, beta, gamma]
    header = browser.find_element("css selector", "th button[data-key='profile']")
    header.click()
    assert rows(browser) == [alpha, beta, gamma]
    browser.find_element("css selector", "th button[data-key='profile']").click()
    assert rows(browser) == [gamma, beta, alpha]
    sort = "document.querySelector('th[aria-sort]').getAttribute('aria-sort')"
    assert browser.execute_script(f"return {sort}") == "ascending"
    browser.find_element("id", "q").send_keys("BETA")
    assert rows(browser) == [beta]
    assert "1 of 3" in browser.find_element("id", "count").text
    address = browser.current_url
    opened("#" + address.partition("#")[2])
    assert rows(browser) == [beta], "a shared address shows the same"
    assert browser.execute_script(f"return {sort}") == "ascending"


def test_a_miss_sorts_last_both_ways(browser: Browser, opened: Callable[..., None]) -> None:
    opened("#sort=w:valleys@1&dir=asc")
    assert rows(browser)[-1].startswith("gamma")
    opened("#sort=w:valleys@1&dir=desc")
    assert rows(browser)[-1].startswith("gamma")
    assert "missed" in browser.find_element("css selector", "#board tbody tr:last-child").text


def test_each_workload_has_a_table_with_the_same_ranks(browser: Browser, opened: Callable[..., None]) -> None:
    opened()
    ranks = "[...document.querySelectorAll('%s tbody tr')].map(r => r.cells[0].textContent)"
    for number in (1, 2):
        place = f"#details > :nth-child({number})"
        assert browser.execute_script(f"return {ranks % place}") == browser.execute_script(f"return {ranks % '#board'}")
    titles = "[...document.querySelectorAll('#details caption')].map(c => c.textContent)"
    assert browser.execute_script(f"return {titles}") == ["hills@1: loss ≤ 1 nats", "valleys@1: loss ≤ 1 nats"]


def test_keyboard_alone(browser: Browser, opened: Callable[..., None]) -> None:
    from selenium.webdriver.common.keys import Keys

    opened()
    body = browser.find_element("tag name", "body")
    body.send_keys("/")
    browser.switch_to.active_element.send_keys("gamma")
    assert [name[:5] for name in rows(browser)] == ["gamma"]
    browser.switch_to.active_element.send_keys(Keys.CONTROL, "a")
    browser.switch_to.active_element.send_keys(Keys.DELETE)
    for _ in range(40):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        if browser.execute_script("return document.activeElement.dataset.key") == "submission":
            break
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert rows(browser) == sorted(synthetic.SPEED)
    assert browser.execute_script("return document.activeElement.dataset.key") == "submission", "the focus stays"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert rows(browser) == sorted(synthetic.SPEED, reverse=True)


def test_charts_follow_the_controls(browser: Browser, opened: Callable[..., None]) -> None:
    opened()
    for place in ("metric", "lr", "sens", "profile"):
        assert browser.execute_script(f"return document.querySelectorAll('#{place} .bk-Figure').length") == 1
    assert "process seconds" in browser.find_element("id", "c-metric").text
    for select, option, expected in (("x", "steps", "against steps"), ("w", "valleys@1", "valleys@1:")):
        drawn = int(browser.execute_script("return document.body.dataset.drawn"))
        browser.find_element("css selector", f"#{select} option[value='{option}']").click()
        wait(browser, f"document.body.dataset.drawn > {drawn}")
        assert expected in browser.find_element("id", "c-metric").text
    drawn = int(browser.execute_script("return document.body.dataset.drawn"))
    browser.find_element("css selector", "#legend button").click()
    wait(browser, f"document.body.dataset.drawn > {drawn}")
    pressed = browser.find_element("css selector", "#legend button").get_attribute("aria-pressed")
    assert pressed == "false"
    assert "hide=alpha" in browser.current_url


def test_the_first_screen_says_who_leads_and_the_matrix_who_differs(
    browser: Browser, opened: Callable[..., None]
) -> None:
    opened()
    headline = browser.find_element("id", "headline")
    assert headline.text.startswith("No verdict: rank 1 is undecided between alpha@1, beta@1 and gamma")
    assert headline.location["y"] + headline.size["height"] < 800
    cells = "[...document.querySelectorAll('#verdicts tbody tr')].map(r => [...r.children].map(c => c.textContent))"
    first, second, _ = browser.execute_script(f"return {cells}")
    assert first[:2] == ["alpha@1", "–"]
    assert [text[:9] for text in (first[2], second[1])] == ["undecided", "undecided"]
    opened("#t=gpu-synthetic%7Cquick@1")
    assert not browser.find_element("id", "pairs").is_displayed(), "a single submission differs from nobody"


def test_stages_of_a_stream_are_chosen(browser: Browser, opened: Callable[..., None]) -> None:
    opened()
    assert not browser.find_element("id", "stages").is_displayed(), "hills@1 is a pool"
    opened("#t=cpu-streams%7Cquick@1")
    caption = browser.find_element("id", "c-metric")
    assert "choose a stage" in caption.text
    drawn = int(browser.execute_script("return document.body.dataset.drawn"))
    browser.find_element("css selector", "#s option[value='1']").click()
    wait(browser, f"document.body.dataset.drawn > {drawn}")
    assert "stage late: loss against process seconds since the stage began" in caption.text
    assert "dashed: the target, ≤ 1 nats" in caption.text
    assert "s=1" in browser.current_url
    opened("#t=cpu-streams%7Cquick@1&s=9")
    assert "choose a stage" in browser.find_element("id", "c-metric").text


HOVERED = """
const found = [];
const walk = (root) => { for (const e of root.querySelectorAll('*')) {
  if (e.matches('.bk-tooltip-content, .bk-Tooltip, [class*=tooltip]')) found.push(e.innerText ?? e.textContent);
  if (e.shadowRoot) walk(e.shadowRoot); } };
walk(document); return found.join(' ');
"""


def test_hover_names_the_submission(browser: Browser, opened: Callable[..., None]) -> None:
    from selenium.webdriver import ActionChains

    opened()
    chart = browser.find_element("id", "profile")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
    size = chart.size
    shown = ""
    # Along the upper part of the profile, where the best submission's line lies at 1.
    for offset in range(-140, -80, 2):
        ActionChains(browser.driver).move_to_element_with_offset(chart, size["width"] // 4, offset).perform()
        shown = browser.execute_script(HOVERED)
        if "@1" in shown:
            break
    assert "alpha@1" in shown or "beta@1" in shown


def test_failures_are_shown_as_text(browser: Browser, opened: Callable[..., None]) -> None:
    opened()
    failed = browser.find_element("id", "failed").text
    assert "crashed" in failed
    assert "<script>alert('no')</script>" in failed
    assert "2.13.0" in browser.find_element("id", "machines").text
    assert "weight_decay" in browser.find_element("id", "hparams").text


def test_the_other_table_and_a_wrong_address(browser: Browser, opened: Callable[..., None]) -> None:
    opened("#t=gpu-synthetic%7Cquick@1")
    assert rows(browser) == ["alpha"]
    opened("#t=nothing&sort=nothing&x=nothing&w=nothing&hp=nothing&theme=nothing")
    assert len(rows(browser)) == 3


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_in_both_colours(report: Path, tmp_path: Path, dark: bool) -> None:
    with chromium(tmp_path, width=390, height=800, dark=dark) as phone:
        phone.open(report.as_uri(), "document.body.dataset.drawn >= 1")
        assert phone.execute_script("return document.documentElement.scrollWidth") <= 390, "nothing sticks out"
        matrix = "document.querySelector('#pairs .scroll')"
        assert phone.execute_script(f"return {matrix}.scrollWidth > {matrix}.clientWidth"), "it scrolls inside its box"
        left = f"{matrix}.querySelector('tbody th').getBoundingClientRect().left"
        before = phone.execute_script(f"return {left}")
        assert phone.execute_script(f"{matrix}.scrollLeft = 60; return {left}") == before, "the names stay"
        widths = "[...document.querySelectorAll('caption span')].map((title) => title.getBoundingClientRect().right)"
        ends = phone.execute_script(f"return {widths}")
        assert len(ends) > 1
        assert max(ends) <= 390, "the titles of wide tables are not cut"
        shade = phone.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (shade == "rgb(255, 255, 255)") is not dark
        assert complaints(phone) == []


def test_nothing_to_show_is_a_page_too(bench: Bench, browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    assert bench("report", "empty.html").code == 0
    browser.open((tmp_path / "empty.html").as_uri(), "document.body.dataset.drawn >= 1")
    assert "No results" in browser.find_element("id", "count").text
    assert complaints(browser) == []
