"""The pages in a real browser: Chromium and its driver from PATH (Debian: apt-get install chromium chromium-driver)."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from kserve_warmup.demo.result import DemoResult
from kserve_warmup.html import render_demo, render_report
from kserve_warmup.report import WarmupReport

REPORTS = Path(__file__).parents[1] / "data" / "reports"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)

# The contrast (WCAG 2) of every element that shows text of its own, and of every drawn line and shape, against the
# page; what is below its threshold comes back. Bands and grid lines only decorate what text and lines say.
FAINT = """
const rgb = c => (c.match(/[\\d.]+/g) || []).map(Number);
const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const light = c => { const [r, g, b] = rgb(c).map(v => linear(v / 255));
  return .2126 * r + .7152 * g + .0722 * b; };
const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
const clear = c => rgb(c).length === 4 && rgb(c)[3] === 0;
const behind = e => { const c = e ? getComputedStyle(e).backgroundColor : 'rgb(255, 255, 255)';
  return clear(c) ? behind(e.parentElement) : c; };
const faint = [];
let seen = 0;
document.querySelectorAll('details').forEach(d => d.open = true);
for (const e of document.body.querySelectorAll('*')) {
  const style = getComputedStyle(e), drawn = e.matches('path, circle, rect:not(.band)');
  const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && !e.matches('title, desc');
  if (!own && !drawn) continue;
  const colour = e.matches('path') ? style.stroke : e.closest('svg') ? style.fill : style.color;
  const large = parseFloat(style.fontSize) >= 24, found = contrast(colour, behind(e));
  seen++;
  const name = `${e.tagName}.${e.getAttribute('class')}`;
  if (found < (drawn || large ? 3 : 4.5)) faint.push(`${name} ${colour} ${found.toFixed(2)}`);
}
return {seen, faint: [...new Set(faint)], paper: getComputedStyle(document.body).backgroundColor};
"""


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.fail(
            f"{name} is not on PATH, and this test needs a real browser: apt-get install chromium chromium-driver"
        )
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = tool("chromium")
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(tool("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture(scope="module", params=["warmup", "demo"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / f"{request.param}.html"
    if request.param == "demo":
        path.write_text(render_demo(DemoResult.from_json((REPORTS / "demo.json").read_text())))
    else:
        path.write_text(
            render_report(*(WarmupReport.from_json(p.read_text()) for p in sorted(REPORTS.glob("warmup-*"))))
        )
    return path.as_uri()


def show(browser: Chrome, page: str, *, width: int = 1280, scheme: str = "light") -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(page)


def requested(browser: Chrome, page: str) -> list[str]:
    """Return what the page asked for; Chromium's own start page makes requests as well."""
    messages: list[dict[str, Any]] = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [s["request"]["url"] for s in sent if s["documentURL"] == page]


def test_the_page_loads_itself_alone_and_the_console_stays_empty(browser: Chrome, page: str) -> None:
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    show(browser, page)
    assert requested(browser, page) == [page]
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_page_never_scrolls_sideways(browser: Chrome, page: str, width: int) -> None:
    show(browser, page, width=width)
    wide, inside = browser.execute_script(
        "document.querySelectorAll('details').forEach(d => d.open = true);"
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert inside == width or (width > 500 and inside > width - 20)
    assert wide <= inside


def test_chart_text_stays_readable_and_on_the_screen_of_a_phone(browser: Chrome, page: str) -> None:
    show(browser, page, width=360)
    boxes = browser.execute_script(
        "document.querySelectorAll('details').forEach(d => d.open = true);"
        "return [...document.querySelectorAll('svg text')].map(t => {"
        " const b = t.getBoundingClientRect(); return [t.textContent, b.left, b.right, b.height]; })"
    )
    assert boxes
    assert [b for b in boxes if b[1] < 0 or b[2] > 360 or b[3] < 11] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_and_lines_stand_out_in_light_and_dark(browser: Chrome, page: str, scheme: str) -> None:
    show(browser, page, scheme=scheme)
    found = browser.execute_script(FAINT)
    assert found["seen"] > 50
    assert found["faint"] == []
    assert (found["paper"] == "rgb(255, 255, 255)") == (scheme == "light")


def test_a_wide_table_is_reached_and_scrolled_by_keyboard(browser: Chrome, page: str) -> None:
    show(browser, page, width=360)
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    region = browser.switch_to.active_element
    assert region.get_attribute("role") == "region"
    region.send_keys(Keys.ARROW_RIGHT)
    WebDriverWait(browser, 10).until(lambda _: browser.execute_script("return arguments[0].scrollLeft", region) > 0)


def test_a_chart_is_announced_by_its_name_and_description(browser: Chrome, page: str) -> None:
    show(browser, page)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    charts = browser.find_elements(By.CSS_SELECTOR, "figure > svg")
    assert charts
    assert {c.aria_role for c in charts} <= {"image", "img"}
    assert all(len(c.accessible_name) > 40 for c in charts)
