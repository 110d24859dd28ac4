"""The report in a real browser: no error, no request, views in step, a table that sorts, narrow and wide."""

import json
import re
import shutil

import numpy as np
import pytest
from axe_core_python.selenium import Axe
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import browser
import synthetic_results
from blueprint.report.page import write_report
from workflow_runs import REPOSITORY

pytestmark = pytest.mark.skipif(
    not (browser.CHROMIUM and browser.DRIVER),
    reason="Chromium and its driver are not on this machine (.ci/run installs them)",
)
SPEC = {
    "title": "Hall <of> mirrors",
    "facilities": {"hall": ["sweep", "pan"]},
    "variants": ["dusk", "neon", "moved"],
    "names": synthetic_results.NAMES,
}
VIEWS = ["render", "depth", "dusk", "neon", "moved"]
FRAMES = 8
PAPER = {"width": 1030, "height": 700, "deviceScaleFactor": 1, "mobile": False}
"""A4, landscape, less its margins, in CSS pixels."""
# The mark in the lower left corner of a view holds the frame's index.
MARKS = """
return [...document.querySelectorAll('details[open] .views canvas')].map(canvas => {
  const [x, y] = [canvas.width * 0.02, canvas.height * 0.96];
  return canvas.getContext('2d').getImageData(x, y, 1, 1).data[0];
});
"""


# The lowest ratio of contrast (WCAG 2) of any text to what it stands on, and where.
LEAST_CONTRAST = """
const linear = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = text => {
  const [r, g, b] = text.match(/[\\d.]+/g).map(linear);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = e => {
  const colour = getComputedStyle(e).backgroundColor;
  return /, 0\\)$/.test(colour) && e.parentElement ? ground(e.parentElement) : colour;
};
let least = [21, ''];
for (const e of document.querySelectorAll('h1, h2, h3, p, td, th button, a, .chip, figcaption b, dt, dd, button')) {
  if (!e.textContent.trim() || !e.offsetParent) continue;
  const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < least[0]) least = [ratio, e.outerHTML.slice(0, 90)];
}
return least;
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    results = synthetic_results.make_results(tmp_path_factory.mktemp("results"), count=FRAMES)
    benchmarks = results.parent / "benchmarks"
    for stage, seconds in (("render", 30.0), ("enrich", 10.0)):
        path = benchmarks / "hall" / stage / "sweep.tsv"
        path.parent.mkdir(parents=True)
        path.write_text(f"s\tmax_rss\n{seconds}\t512.0\n")
    ledger = results / ".cloud" / "ledger"
    ledger.mkdir(parents=True)
    (ledger / "machine.json").write_text(json.dumps({"cost_usd": 2.0, "seconds": 3600.0}))
    write_report(results / "report.html", results, benchmarks, SPEC)
    return results / "report.html"


@pytest.fixture(scope="module")
def driver():
    with browser.browser() as opened:
        yield opened


@pytest.fixture
def opened(driver, page):
    browser.requests(driver)
    browser.open_page(driver, page)
    browser.wait(driver, "return document.querySelector('details[open] .views canvas[data-frame]')")
    return driver


def shown_frames(driver):
    """The frame that each view shows, read from its pixels."""
    return [round(level / synthetic_results.LEVELS_PER_FRAME) for level in driver.execute_script(MARKS)]


def test_it_is_one_file_that_asks_for_nothing_and_complains_of_nothing(driver, page, tmp_path):
    alone = shutil.copy(page, tmp_path / "elsewhere.html")
    browser.requests(driver), browser.console(driver)
    browser.open_page(driver, alone)
    driver.execute_script("document.querySelectorAll('details.clip').forEach(clip => (clip.open = true))")
    browser.wait(driver, "return document.querySelectorAll('.live canvas[data-frame]').length == 10")
    driver.execute_script("document.querySelectorAll('.plot').forEach(plot => plot.scrollIntoView())")
    browser.wait(driver, "return document.querySelectorAll('.plot .main-svg').length >= 2")
    assert browser.console(driver) == []
    assert browser.requests(driver) == [alone.as_uri()]


def test_views_show_the_same_frame_at_rest_and_while_playing(opened):
    labels = opened.execute_script(
        "return [...document.querySelectorAll('details[open] .views b')].map(b => b.textContent)"
    )
    assert labels == VIEWS
    for frame in (0, 5, FRAMES - 1):
        opened.execute_script(
            "const s = document.querySelector('details[open] input[aria-label=Frame]');"
            "s.value = arguments[0]; s.dispatchEvent(new Event('input'))",
            frame,
        )
        browser.wait(opened, f"return document.querySelector('details[open] .views canvas').dataset.frame == {frame}")
        assert shown_frames(opened) == [frame] * len(VIEWS)
    button = opened.find_element(By.CSS_SELECTOR, "details[open] button.primary")
    opened.execute_script("arguments[0].click()", button)
    seen = set()
    while len(seen) < 5:
        frames = shown_frames(opened)
        assert len(set(frames)) == 1, frames
        seen.add(frames[0])
    assert "Pause" in button.text
    opened.execute_script("arguments[0].click()", button)


def test_the_slider_divides_two_views_of_one_frame(opened):
    canvas = "document.querySelector('details[open] .split canvas')"
    read = (
        f"const c = {canvas}, d = c.getContext('2d');"
        "return [0.1, 0.9].map(x => [...d.getImageData(c.width * x, c.height / 3, 1, 1).data])"
    )
    divide = opened.find_element(By.CSS_SELECTOR, "details[open] .split input")
    choose(opened, "Right view", "dusk")
    both = opened.execute_script(read)
    opened.execute_script("arguments[0].focus()", divide)
    divide.send_keys(Keys.HOME)
    right = opened.execute_script(read)
    divide.send_keys(Keys.END)
    left = opened.execute_script(read)
    assert np.abs(np.subtract(left[0], right[0])).max() > 30, "the two views differ"
    assert both[0] == left[0]
    assert both[1] == right[1]


def choose(driver, label, option):
    """Choose an option of a select in the opened clip."""
    script = (
        "const s = document.querySelector(`details[open] select[aria-label='${arguments[0]}']`);"
        "s.value = [...s.options].find(o => o.textContent === arguments[1]).value; s.dispatchEvent(new Event('input'))"
    )
    driver.execute_script(script, label, option)


def column(driver, number):
    rows = "[...document.querySelectorAll('#scores tbody tr:not([hidden])')]"
    return driver.execute_script(f"return {rows}.map(row => row.cells[{number}].textContent)")


def test_the_table_sorts_both_ways_and_filters(opened):
    titles = [cell.text for cell in opened.find_elements(By.CSS_SELECTOR, "#scores th button")]
    number = titles.index("Depth edges")
    assert column(opened, 2)[:2] == ["fail", "fail"], "the worst come first"
    head = opened.find_elements(By.CSS_SELECTOR, "#scores th")[number]
    for direction, reverse in (("ascending", False), ("descending", True)):
        opened.execute_script("arguments[0].querySelector('button').click()", head)
        values = [float(value) for value in column(opened, number)]
        assert head.get_attribute("aria-sort") == direction
        assert values == sorted(values, reverse=reverse)
        assert len(set(values)) > 1
    search = opened.find_element(By.ID, "filter")
    search.send_keys("pan dus")
    assert (column(opened, 0), column(opened, 1)) == (["pan"], ["dusk"])
    assert opened.find_element(By.ID, "shown").text == "1 of 6"
    visible = "return [...document.querySelectorAll(arguments[0])].filter(e => !e.hidden).map(e => e.dataset.place)"
    assert opened.execute_script(visible, "details.clip") == ["hall/pan"]
    assert opened.execute_script(visible, ".first li") == [], "no warning of the variant that is left"
    search.clear()
    search.send_keys(" ")
    opened.execute_script(
        "const s = document.querySelector('#only'); s.value = 'fail'; s.dispatchEvent(new Event('change'))"
    )
    assert column(opened, 1) == ["moved", "moved"]


def test_a_worst_frame_is_pictured_and_leads_to_it(opened):
    figure = opened.find_element(By.CSS_SELECTOR, "details[open] .worst figure")
    assert "moved" in figure.text, "what falls short comes first"
    sizes = opened.execute_script("return [...arguments[0].querySelectorAll('img')].map(i => i.naturalWidth)", figure)
    assert len(sizes) == 3 and min(sizes) > 100
    frame = int(re.search(r"frame (\d+)", figure.text).group(1))
    opened.execute_script("arguments[0].querySelector('button').click()", figure)
    browser.wait(opened, f"return document.querySelector('details[open] .views canvas').dataset.frame == {frame}")
    assert shown_frames(opened) == [frame] * len(VIEWS)


def test_the_plot_shows_every_variant_and_the_thresholds(opened):
    browser.wait(opened, "return document.querySelector('details[open] .score-plot').data")
    names, shapes = opened.execute_script(
        "const p = document.querySelector('details[open] .score-plot');"
        "return [p.data.map(t => t.name), p.layout.shapes.map(s => s.y0)]"
    )
    assert [name for name in names if "worst" not in name] == ["dusk", "neon", "moved"]
    assert {0.5, 0.8} <= set(shapes)


def test_it_says_where_to_look_what_it_cost_and_what_made_it(opened):
    text = opened.find_element(By.TAG_NAME, "main").text
    assert re.search(r"sweep / moved\s+✕?\s*fail\s+fails: [^\n]+Depth edges 0\.\d+ \(at least 0\.5 wanted\)", text)
    assert opened.execute_script(
        "return document.querySelectorAll('#distributions ~ .plots h3')[0].textContent"
    ).endswith("no verdict: it is meant to change"), "PSNR is no verdict"
    assert "$2.00 for 1 h 00 min on 1 rented machine" in text
    assert re.search(r"render 1 30\.0 s 75 % 30\.0 s 0\.54 GB \$1\.50\s+enrich", text), "in the order of the chain"
    assert re.search(r"total 2 40\.0 s \$2\.00", text)
    assert re.search(r"up axis\s+!?\s*warn", opened.execute_script("return document.querySelector('main').textContent"))
    assert "photometric" in text
    assert "0" * 64 in text
    assert opened.title == SPEC["title"], "titles are escaped, not obeyed"


def test_a_failing_clip_opens_on_the_failing_variant_at_its_frame(opened, page):
    """Its address says so, leads there again, and every link to a variant does."""
    at = opened.execute_script("return document.querySelector('details[open] input[aria-label=Frame]').value")
    assert opened.current_url.endswith(f"#clip-hall-sweep/moved/{at}")
    compared = (
        "return document.querySelector(\"details[open] select[aria-label='Right view']\").selectedOptions[0].text"
    )
    assert opened.execute_script(compared) == "moved"
    opened.get("about:blank")
    opened.get(f"{page.as_uri()}#clip-hall-pan/neon/3")
    browser.wait(opened, "return document.querySelector('details[open] .views canvas')?.dataset.frame == 3")
    assert opened.execute_script("return document.querySelector('details[open]').id") == "clip-hall-pan"
    assert opened.execute_script(compared) == "neon"
    opened.execute_script("document.querySelector('details[open]').open = false")
    browser.wait(opened, "return !document.querySelector('.live canvas')")
    opened.execute_script("document.querySelector('.first a').click()")
    browser.wait(opened, "return document.querySelector('details[open] .views canvas[data-frame]')")
    assert opened.execute_script(compared) == "moved"


def test_a_closed_clip_gives_its_memory_back(opened):
    held = "return [document.querySelectorAll('.live canvas, .worst img, .score-plot').length, window.revoked]"
    opened.execute_script(
        "window.revoked = 0; const real = URL.revokeObjectURL;"
        "URL.revokeObjectURL = url => { window.revoked++; real.call(URL, url); };"
        "document.querySelector('details[open]').open = false"
    )
    browser.wait(opened, "return window.revoked == 1")
    assert opened.execute_script(held) == [0, 1]
    opened.execute_script("document.querySelector('details.clip').open = true")
    browser.wait(opened, "return document.querySelector('details[open] .views canvas[data-frame]')")
    assert browser.console(opened) == []


@pytest.mark.parametrize("width", [390, 768, 1280, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_and_everybody_can_read_it(page, width, scheme):
    """Nothing wider than the window, contrast as WCAG asks, and nothing serious to axe-core."""
    with browser.browser(width) as driver:
        emulated = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", emulated)
        browser.open_page(driver, page)
        browser.wait(driver, "return document.querySelector('details[open] .score-plot .main-svg')")
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        least = driver.execute_script(LEAST_CONTRAST)
        assert least[0] >= 4.5, f"WCAG AA wants 4.5: {least}"
        # What is out of view is laid out too, else axe-core takes all of it to lie in one place.
        driver.execute_script(
            "document.querySelectorAll('details').forEach(part => {"
            "part.open = true; part.style.contentVisibility = 'visible'; })"
        )
        browser.wait(driver, "return document.querySelectorAll('.live canvas[data-frame]').length == 10")
        found = Axe().run(driver)
        serious = [
            f"{rule['id']}: {rule['nodes'][0]['html'][:90]}"
            for rule in found["violations"]
            if rule["impact"] in ("serious", "critical")
        ]
        assert serious == [] and len(found["passes"]) > 20


def test_the_button_changes_light_to_dark(opened):
    ground = "return getComputedStyle(document.body).backgroundColor"
    before = opened.execute_script(ground)
    opened.find_element(By.ID, "theme").click()
    assert opened.execute_script(ground) != before


def test_it_prints(opened):
    opened.execute_script("dispatchEvent(new Event('beforeprint'))")
    browser.wait(
        opened, "return [...document.querySelectorAll('.plot')].every(plot => plot.querySelector('.main-svg'))"
    )
    printed = opened.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})["data"]
    assert len(printed) > 20_000
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert not opened.find_element(By.TAG_NAME, "nav").is_displayed()
        assert opened.find_element(By.ID, "scores").is_displayed()
        opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PAPER)
        cut = "return [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
        assert opened.execute_script(cut) == 0, "no column is cut off"
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_without_javascript_it_says_so_and_shows_what_it_can(page):
    with browser.browser(javascript=False) as driver:
        driver.get(page.as_uri())
        text = driver.find_element(By.TAG_NAME, "body").text
        assert "JavaScript is off" in text
        assert "sweep / moved" in text and "Depth edges" in text and "photometric" in text
        for part in ("#distributions", ".plot", "#filter", ".key"):
            assert not driver.find_element(By.CSS_SELECTOR, part).is_displayed(), "no empty box"


def test_a_page_without_scores_in_time_still_opens(tmp_path, page):
    """One frame per clip: no stability, no lines to draw."""
    results = synthetic_results.make_results(tmp_path / "results", clips=("still",), count=1)
    write_report(tmp_path / "one.html", results, tmp_path, {**SPEC, "facilities": {"hall": ["still"]}})
    with browser.browser() as driver:
        browser.open_page(driver, tmp_path / "one.html")
        browser.wait(driver, "return document.querySelector('details[open] .views canvas[data-frame]')")
        assert browser.console(driver) == []
        assert "temporal_stability of still/dusk" in driver.find_element(By.TAG_NAME, "main").text


def test_the_machine_that_runs_all_tests_has_a_browser():
    assert "chromium-driver" in (REPOSITORY / ".ci" / "run").read_text()
