"""The pages in a real browser: Chromium and its driver from PATH (Debian: apt-get install chromium chromium-driver)."""

import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from axe_core_python.selenium import Axe
from PIL import Image, ImageColor
from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from kserve_warmup.caches.bake_result import BakeResult
from kserve_warmup.demo.demo_result import DemoResult
from kserve_warmup.report import Step, WarmupReport
from kserve_warmup.verify.verify_result import Verification
from kserve_warmup.views.figures import TIMES
from kserve_warmup.views.html import render_report

REPORTS = Path(__file__).parents[1] / "data" / "reports"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)

# The contrast (WCAG 2) of every element that shows text of its own, and of every drawn line and shape, against the
# page; what is below its threshold comes back. Bands, grid lines and links only decorate what text and lines say.
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
for (const e of document.body.querySelectorAll('*')) {
  const style = getComputedStyle(e);
  const drawn = e.matches('path, circle, rect, line') && !e.closest('.band, .join, .tip, .grid');
  if (e.matches('script, noscript')) continue;
  const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && !e.matches('title, desc');
  if (!own && !drawn) continue;
  const filled = style.fill !== 'none' && !e.matches('line');
  const colour = !e.closest('svg') ? style.color : filled ? style.fill : style.stroke;
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
    driver.set_script_timeout(300)  # axe reads every element, which takes long beside other work
    yield driver
    driver.quit()


TIMELINE = (
    Step("import", 0, 1.9),
    Step("load", 1.9, 2.6),
    Step("model warm-up", 2.6, 6.2),
    Step("wire warm-up (rest)", 6.4, 9.1),
    Step("ready", 9.2, 9.2),
)


def written(kind: str, folder: Path) -> str:
    reports = [WarmupReport.from_json(p.read_text()) for p in sorted(REPORTS.glob("warmup-*"))]
    timed = [replace(r, timeline=TIMELINE) for r in reports]
    path = folder / f"{kind}.html"
    if kind == "demo":
        path.write_text(render_report(DemoResult.from_json((REPORTS / "demo.json").read_text())))
    elif kind == "verify":
        path.write_text(render_report(Verification.from_json((REPORTS / "verify.json").read_text())))
    elif kind == "bake":
        path.write_text(render_report(*[BakeResult.from_json((REPORTS / "bake.json").read_text())] * 2))
    elif kind == "baked":
        report = WarmupReport.from_json((REPORTS / "baked-warmup.json").read_text())
        path.write_text(render_report(report, replace(report, cache_note="baked caches are not used: /opt/warm: why")))
    elif kind == "all":
        demo = DemoResult.from_json((REPORTS / "demo.json").read_text())
        one = replace(demo, models=demo.models[:1])
        verified = Verification.from_json((REPORTS / "verify.json").read_text())
        path.write_text(render_report(timed[0], *[verified] * 2, *[one] * 2))
    elif kind == "compare":
        less = replace(timed[1], strata=tuple(replace(s, share=s.share / 2) for s in timed[1].strata))
        path.write_text(render_report(timed[1], *[less] * 5, labels=[f"report-{n}" for n in "abcdef"]))
    else:
        path.write_text(render_report(*timed))
    return path.as_uri()


@pytest.fixture(scope="module", params=["warmup", "compare", "baked", "demo", "verify", "bake", "all"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(request.param, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def warmup_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written("warmup", tmp_path_factory.mktemp("page"))


def show(browser: Chrome, page: str, *, width: int = 1280, scheme: str = "light") -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(page)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    WebDriverWait(browser, 20).until(
        lambda b: b.execute_script("return [...document.querySelectorAll('.plot')].every(p => p.querySelector('svg'))")
    )


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
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert inside == width or (width > 500 and inside > width - 20)
    assert wide <= inside


def test_chart_text_stays_readable_and_on_the_screen_of_a_phone(browser: Chrome, page: str) -> None:
    show(browser, page, width=360)
    boxes = browser.execute_script(
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
    for _ in range(20):
        body.send_keys(Keys.TAB)
        region = browser.switch_to.active_element
        if region.get_attribute("role") == "region":
            break
    assert region.get_attribute("role") == "region"
    region.send_keys(Keys.ARROW_RIGHT)
    WebDriverWait(browser, 10).until(lambda _: browser.execute_script("return arguments[0].scrollLeft", region) > 0)


def test_a_chart_is_announced_by_its_name_and_description(browser: Chrome, page: str) -> None:
    show(browser, page)
    charts = browser.find_elements(By.CSS_SELECTOR, ".plot > svg")
    assert charts
    assert {c.aria_role for c in charts} <= {"image", "img"}
    assert all(len(c.accessible_name) > 60 for c in charts)


def tip(browser: Chrome, kind: str) -> str:
    """Return the text of a chart's tooltip without spaces, which are lost where it is wrapped."""
    text = "return document.querySelector(`.plot.${arguments[0]} .tip text`)?.textContent"
    return "".join((browser.execute_script(text, kind) or "").replace("\u200b", "").split())


@pytest.mark.parametrize(
    ("kind", "spoken"),
    [
        ("latency", "v2-binary, call 2: 9.1 ms"),
        ("timeline", "load  700 ms, from 1.9 s to 2.6 s"),
        ("ratios", f"v2-binary image:FP32[N,64] {TIMES} 1, when the warm-up ended: 2.31 ms"),
        ("coverage", "steady: 100%"),
    ],
)
def test_the_values_of_a_chart_are_read_out_and_shown_by_the_arrow_keys(
    browser: Chrome, warmup_page: str, kind: str, spoken: str
) -> None:
    show(browser, warmup_page)
    chart = browser.find_element(By.CSS_SELECTOR, f".plot.{kind} > svg")
    chart.send_keys(Keys.ARROW_RIGHT)
    chart.send_keys(Keys.ARROW_RIGHT)
    output = browser.find_element(By.CSS_SELECTOR, f".plot.{kind} > output")
    assert output.get_property("textContent") == spoken
    WebDriverWait(browser, 10).until(lambda _: tip(browser, kind) == spoken.replace(" ", ""))


def test_the_pointer_shows_the_value_that_it_is_at(browser: Chrome, warmup_page: str) -> None:
    show(browser, warmup_page)
    first = browser.find_element(By.CSS_SELECTOR, ".plot.latency .first > *")
    ActionChains(browser).move_to_element(first).perform()
    WebDriverWait(browser, 10).until(lambda _: tip(browser, "latency") == "v2-binary,call1:128ms")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screenshot_shows_the_band_the_calls_and_the_verdict_in_their_colours(
    browser: Chrome, warmup_page: str, scheme: str
) -> None:
    show(browser, warmup_page, scheme=scheme)
    chart = browser.find_element(By.CSS_SELECTOR, ".plot.latency > svg")
    picture = Image.open(io.BytesIO(chart.screenshot_as_png)).convert("RGB")
    painted = {colour for _, colour in picture.getcolors(1 << 20)}
    value = "return getComputedStyle(document.documentElement).getPropertyValue(arguments[0]).trim()"
    names = ("--good", "--ink", "--paper")
    wanted = {ImageColor.getrgb(browser.execute_script(value, name)) for name in names}
    assert wanted <= painted


def test_a_chart_is_drawn_anew_when_the_phone_is_turned(browser: Chrome, warmup_page: str) -> None:
    show(browser, warmup_page, width=360)
    width = "return document.querySelector('.plot.latency > svg').getBoundingClientRect().width"
    upright = browser.execute_script(width)
    metrics = {"width": 480, "height": 360, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    WebDriverWait(browser, 10).until(lambda b: b.execute_script(width) > upright + 100)


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_shuts_anybody_out(browser: Chrome, page: str, width: int, scheme: str) -> None:
    show(browser, page, width=width, scheme=scheme)
    found = Axe().run(browser)
    assert len(found["passes"]) > 15
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found["violations"]] == []
