"""The one-file report: complete, escaped, small, the same every time; and, in a real browser, alive and silent."""

import base64
import csv
import io
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from urllib.parse import unquote

import matplotlib
import pytest
from helpers.scored_tables import request, small_board, tables

from helm_efficiency import __version__
from helm_efficiency.core.rules import PrefillRule
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.core.tier import Tier
from helm_efficiency.errors import printable
from helm_efficiency.report import html
from helm_efficiency.report.board import Options
from helm_efficiency.report.leaderboard import build
from helm_efficiency.report.tables import from_arrow

matplotlib.use("Agg")

NASTY = [
    "org/<script>alert(1)</script>",
    "org/</script><img src=x onerror=alert(1)>",
    'org/"onmouseover="alert(1)',
    "org/${7*7}{{7*7}}",
    "组织/模型",
    "org/\u202eright",
]


COEFFICIENTS = RuntimeCoefficients(
    rule=PrefillRule.linear,
    prefill_knots=((1, 0.01), (100, 0.02), (1000, 0.2)),
    decode_s_per_token=0.02,
    domain=Domain(1, 1000, 1, 64),
    decode_s_per_context_token=1e-6,
    relative_error=0.05,
    prefill_error_s=(0.001, 0.002, 0.03),
    decode_error=0.1,
)


def board_and_tables(models, scenarios=("s",), instances=4, facts=(), **options):
    rows = [
        request(
            model,
            scenario,
            index,
            float(index % (at + 2) == 0),
            idealized_s=0.1 * (at + 1),
            denoised_s=0.2 * (at + 1),
            coefficients="c",
            **dict(facts),
        )
        for at, model in enumerate(models)
        for scenario in scenarios
        for index in range(instances)
    ]
    found = replace(from_arrow(*tables(rows)), coefficients={"c": COEFFICIENTS})
    return build(found, Options(**{"keep_draws": True} | options)), found


class _Page(HTMLParser):
    """Tags with their attributes, and the text of table cells."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


@pytest.fixture(scope="module")
def page():
    return html.to_html(small_board(), title="Test & <report>")


def test_every_number_is_in_the_page_without_scripts(page):
    cells = _Page(page).cells
    cells = [cell.strip() for cell in cells]
    for text in ("org/large", "api/<b>_new|$", "2 (1–2)", "— (0/10)"):
        assert text in cells
    for pattern in (r"0\.850 \(0\.\d+–0\.\d+\)", r"● \d+%"):
        assert any(re.fullmatch(pattern, cell) for cell in cells)


def test_it_asks_the_network_for_nothing(page):
    for tag, attributes in _Page(page).tags:
        assert tag not in ("iframe", "object", "embed", "base", "form", "audio", "video")
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith(("#", "data:"))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")
    assert "url(" not in page.partition("</style>")[0]
    assert "@import" not in page


def test_nothing_from_outside_becomes_markup():
    board, found = board_and_tables(NASTY, scenarios=["<i>s</i>", "t"])
    text = html.to_html(board, title="<b>", provenance=html.provenance(found))
    page = _Page(text)
    assert [tag for tag, _ in page.tags if tag in ("img", "b", "i")] == ["img"]  # the static plot
    assert [tag for tag, _ in page.tags].count("script") == 2
    names = {printable(name) for name in NASTY}
    assert names <= set(page.cells)
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert set(data["names"]) == names


def test_every_tier_is_explained(page):
    assert all(f"{tier}: {tier.meaning}." in unescape(page) for tier in Tier)


def test_the_same_page_for_the_same_input(page):
    assert html.to_html(small_board(), title="Test & <report>") == page


def test_provenance():
    _, found = board_and_tables(["a", "b"])
    assert html.provenance(found) == {
        "Tables": f"helm-efficiency {__version__}",
        "Runs": "2 of helm, in suites v1",
        "Requests": "8 rows; 0 failed; 0 answered from the harness's cache",
        "Prompt tokens counted by": "usage 8",
        "Output tokens counted by": "usage 8",
        "Counted too low": "nothing",
        "Coefficients matched by": "name 8",
        "Stacks": "a100-80gb×1 megatron fp16",
        "Load of the busy server": "none",
        "Outside the measured domain": "0 requests",
    }
    priced = from_arrow(*tables([request("a", "s", 0, 1.0, usd_per_accelerator_hour=4.096)]))
    assert html.provenance(priced)["Price of an accelerator"] == "a100: $4.096 an hour"


def test_nothing_and_one_model():
    empty = build(from_arrow(*tables([])))
    assert "There is nothing to compare." in html.to_html(empty)
    assert "org/one" in html.to_html(board_and_tables(["org/one"])[0])
    unscored = build(from_arrow(*tables([request("a", "s", 0, None, idealized_s=None, observed_s=None)])))
    assert "— (0/1)" not in html.to_html(unscored).partition("<tbody>")[0]


def test_a_hundred_models_and_fifty_scenarios_are_under_5_megabytes():
    models = [f"organization-{at % 9}/model-number-{at}-instruct" for at in range(100)]
    scenarios = [f"scenario_{at}:subject=some_subject,method=multiple_choice_joint" for at in range(50)]
    facts = {"idealized_low_s": 0.05, "idealized_high_s": 20, "energy_j": 30, "loaded_s": 0.5, "loaded_usd": 0.002}
    board, _ = board_and_tables(models, scenarios, instances=2, facts=facts, num_draws=30)
    assert 2_500_000 < len(html.to_html(board).encode()) < 5_000_000  # with draws of every scenario


def test_a_notebook_shows_a_leaderboard():
    board, _ = board_and_tables(["org/<script>", "org/two"], scenarios=["s", "t"])
    assert repr(board) == "<Leaderboard of 2 models on 2 scenarios, idealized on a100>"
    shown = board._repr_html_()
    assert "<td>org/&lt;script&gt;</td>" in shown
    assert "<script>" not in shown
    assert "90 % interval" in shown
    assert type(shown) is str  # a Markup would escape what it is joined to


# ---- in a real browser -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def opened(start_browser, tmp_path_factory):
    """The report of three models and two scenarios, open in a Chromium that has seen nothing else."""
    models = ["org/alpha", "org/beta", "other/<script>alert(1)</script>"]
    board, found = board_and_tables(models, scenarios=["s", "t"], instances=12)
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(html.to_html(board, provenance=html.provenance(found)), encoding="utf-8")
    browser = start_browser()
    browser.get(path.as_uri())
    return browser


def column(browser, index):
    rows = browser.find_elements("css selector", "#table-1 tbody tr:not([hidden])")
    return [row.find_elements("css selector", "th, td")[index].text for row in rows]


def heading(browser, title):
    buttons = browser.find_elements("css selector", "#table-1 thead button")
    return next(button for button in buttons if button.text.startswith(title))


@pytest.mark.browser
def test_sorts_by_any_column(opened):
    names = column(opened, 1)
    assert names == ["org/alpha", "org/beta", "other/<script>alert(1)</script>"]
    heading(opened, "Idealized").click()
    assert column(opened, 1) == names
    heading(opened, "Idealized").click()
    assert column(opened, 1) == ["other/<script>alert(1)</script>", "org/beta", "org/alpha"]
    sorted_by = opened.find_element("css selector", "#table-1 th[aria-sort]")
    assert (sorted_by.text.split()[0], sorted_by.get_attribute("aria-sort")) == ("Idealized", "descending")
    heading(opened, "Rank").send_keys("\ue007")  # Enter: the keyboard sorts too
    assert column(opened, 1) == names


@pytest.mark.browser
def test_filters_models(opened):
    box = opened.find_element("id", "filter")
    box.send_keys("org beta")
    assert column(opened, 1) == ["org/beta"]
    assert opened.find_element("id", "matches").text == "1 of 3 models"
    faint = opened.find_elements("css selector", "#scatter circle.dim")
    assert len(faint) == 2
    box.send_keys("\ue003" * len("org beta"))  # Backspace
    assert len(column(opened, 1)) == 3


@pytest.mark.browser
def test_hovering_a_point_shows_all_its_numbers(opened):
    from selenium.webdriver import ActionChains

    point = opened.find_element("css selector", "#scatter circle[data-name='org/beta']")
    tip = opened.find_element("id", "tip")
    assert not tip.is_displayed()
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
    ActionChains(opened).move_to_element(point).perform()
    assert tip.is_displayed()
    for text in (
        "org/beta",
        "a100-80gb×1 megatron fp16, measured",
        "Idealized runtime (s) 0.200",
        "Denoised runtime (s) 0.400",
    ):
        assert text in tip.text
    assert re.search(r"Score 0\.333 0\.\d+ – 0\.\d+", tip.text)
    ActionChains(opened).move_to_element(opened.find_element("tag name", "h1")).perform()
    assert not tip.is_displayed()


@pytest.mark.browser
def test_intervals_are_drawn_over_the_halos_of_names(opened):
    order = opened.execute_script(
        "return [...document.querySelectorAll('#scatter .halo, #scatter .bar')].map((e) => e.classList[0])"
    )
    assert {*order} == {"halo", "bar"}
    assert order == sorted(order, reverse=True)  # all names come before all intervals


@pytest.mark.browser
def test_a_legend_tells_providers_by_colour(opened):
    items = opened.find_elements("css selector", "#providers li")
    assert [item.text for item in items] == ["org", "other"]
    swatches = [item.find_element("css selector", ".swatch").value_of_css_property("border-color") for item in items]
    points = {
        point.get_attribute("data-name").partition("/")[0]: point.value_of_css_property("stroke")
        for point in opened.find_elements("css selector", "#scatter circle")
    }
    assert swatches == [points["org"], points["other"]]


@pytest.mark.browser
def test_a_phone_scrolls_the_tables_and_not_the_page(start_browser, tmp_path):
    names = [f"mmlu:subject=high_school_government_{at},method=multiple_choice_joint" for at in range(2)]
    board, found = board_and_tables(["organization/model-one-instruct", "other/model-two-instruct"], names)
    path = tmp_path / "phone.html"
    path.write_text(html.to_html(board, provenance=html.provenance(found)), encoding="utf-8")
    phone = start_browser()
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    phone.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    phone.get(path.as_uri())
    assert phone.execute_script("return document.documentElement.scrollWidth") == 390
    region = phone.find_element("css selector", ".scroll")
    assert phone.execute_script("arguments[0].scrollLeft = 200; return arguments[0].scrollLeft", region) > 100
    name = phone.find_element("css selector", "#table-1 tbody th")
    left = "return arguments[0].getBoundingClientRect().left"
    assert phone.execute_script(left, name) == phone.execute_script(left, region)  # the name stays in view


@pytest.mark.browser
def test_arrow_keys_go_from_point_to_point(opened):
    first = opened.find_element("css selector", "#scatter circle[tabindex='0']")
    opened.execute_script("arguments[0].focus()", first)
    assert opened.switch_to.active_element.get_attribute("data-name") == "org/alpha"
    opened.switch_to.active_element.send_keys("\ue014")  # right
    assert opened.switch_to.active_element.get_attribute("data-name") == "org/beta"
    assert "org/beta" in opened.find_element("id", "tip").text
    opened.switch_to.active_element.send_keys("\ue012\ue012")  # left, left: round
    assert opened.switch_to.active_element.get_attribute("data-name").startswith("other/")
    opened.switch_to.active_element.send_keys("\ue00c")  # Escape
    assert not opened.find_element("id", "tip").is_displayed()


@pytest.mark.browser
def test_axes_and_scenarios_can_be_chosen(opened):
    from selenium.webdriver.support.select import Select

    choices = Select(opened.find_element("id", "scenario")).options
    assert [option.text for option in choices] == ["all scenarios", "s", "t"]
    axis = Select(opened.find_element("id", "x"))
    assert axis.first_selected_option.text == "Idealized runtime (s)"
    axis.select_by_visible_text("Denoised runtime (s)")
    assert "Denoised runtime (s)" in opened.find_element("id", "scatter").text
    axis.select_by_visible_text("Idealized runtime (s)")
    assert len(opened.find_elements("css selector", "#scatter circle")) == 3


# ---- questions -------------------------------------------------------------------------------------------------------


def ask(page, **choices):
    """Makes choices as a reader does, and returns the plot's numbers, as the page gives them as CSV, by model."""
    for name, value in choices.items():
        control = "const c = document.getElementById(arguments[0])"
        script = f"{control}; c.value = arguments[1]; c.dispatchEvent(new Event('input'))"
        page.execute_script(script, name.replace("price_", "price."), str(value))
    text = unquote(downloaded(page, "csv").partition(",")[2])
    return {row["Model"]: row for row in csv.DictReader(io.StringIO(text))}


def downloaded(page, button):
    """Presses a button and returns the address of what it gives to be saved."""
    script = "window.got = null; HTMLAnchorElement.prototype.click = function () { window.got = this.href }"
    page.execute_script(script)
    page.find_element("id", button).click()
    for _ in range(200):
        if found := page.execute_script("return window.got"):
            return found
    raise AssertionError("nothing was saved")


@pytest.mark.browser
def test_a_request_of_other_lengths_is_predicted(opened):
    for p, o in ((1, 1), (550, 30), (5000, 200)):  # the last is beyond what was measured
        row = ask(opened, prompt=p, output=o)["org/beta"]
        seconds, low, high, _ = COEFFICIENTS.predict(p, o)
        name = "Idealized runtime (s)"
        shown = [float(row[column]) for column in (name, f"{name}, low", f"{name}, high")]
        assert shown == pytest.approx([seconds, low, high], rel=1e-5)
        cost = float(row["Idealized cost ($ per 1,000 requests)"])
        assert cost == pytest.approx(1000 * float(seconds) * 4.096 / 3600, rel=1e-3)
        assert row["Score"] == "0.3333"
        assert "Denoised runtime (s)" not in row  # it belongs to the runs
    opened.find_element("id", "reset").click()
    assert ask(opened)["org/beta"]["Idealized runtime (s)"] == "0.2"


@pytest.mark.browser
def test_costs_follow_a_typed_price_and_the_address_keeps_it(opened):
    row = ask(opened, price_a100=36, y="score", x="idealized_usd")["org/alpha"]
    assert float(row["Idealized cost ($ per 1,000 requests)"]) == pytest.approx(1000 * 0.1 * 36 / 3600)
    assert "at the prices typed" in opened.find_element("id", "asked").text
    link = opened.find_element("id", "link").get_attribute("href")
    assert opened.current_url == link
    opened.get(link.partition("#")[0])
    assert opened.find_element("id", "price.a100").get_attribute("value") == ""
    opened.get("about:blank")
    opened.get(link)
    assert opened.find_element("id", "price.a100").get_attribute("value") == "36"
    assert ask(opened)["org/alpha"] == row
    opened.find_element("id", "reset").click()
    assert "=" not in opened.current_url


@pytest.mark.browser
def test_two_models_are_compared_in_the_draws(opened):
    ask(opened, a="org/alpha", b="org/beta")
    odds = [item.text for item in opened.find_elements("css selector", "#odds li")]
    assert re.fullmatch(r"\d+\s% that alpha · org has the higher score \(0\.500 against 0\.333\)", odds[0])
    # their times differ by twice and share one error, as they share coefficients
    assert odds[1] == "100 % that alpha · org has the lower idealized runtime (0.100 against 0.200)"
    headings = [cell.text for cell in opened.find_elements("css selector", "#numbers thead th")]
    assert headings == [
        "Model",
        "Rank",
        "Score",
        "Idealized runtime (s)",
        "Rank by idealized runtime",
        "On the front",
    ]
    cells = [cell.text for cell in opened.find_elements("css selector", "#numbers tbody tr:first-child > *")]
    assert re.fullmatch(r"org/alpha 1 \(1–\d\) 0\.500 \(0\.\d+–0\.\d+\) 0\.100 1 \(1\) ● \d+\s%", " ".join(cells))


@pytest.mark.browser
def test_stacks_are_compared_at_prices_of_their_own(browser, tmp_path):
    rows = [
        request(name, scenario, index, float(index < 5), stack=stack, idealized_s=seconds * faster)
        for name, seconds in (("a/large", 1.0), ("a/small", 0.1))
        for scenario in ("mmlu:subject=x", "mmlu:subject=y", "gsm")
        for index in range(10)
        for stack, faster in (("h100", 1.0), ("b200", 0.5))
    ]
    path = tmp_path / "stacks.html"
    board = build(from_arrow(*tables(rows)), Options(keep_draws=True))
    path.write_text(html.to_html(board), encoding="utf-8")
    browser.get(f"{path.as_uri()}#stack=*&scenario=mean+of+mmlu&x=idealized_usd&price.h100=3.6&price.b200=18")
    shown = {
        row.find_element("css selector", "th").text: row.find_elements("css selector", "td")[2].text
        for row in browser.find_elements("css selector", "#numbers tbody tr")
    }
    assert shown == {  # seconds x dollars an hour / 3600 x 1000 requests
        "a/large on h100": "1.00",
        "a/large on b200": "2.50",
        "a/small on h100": "0.100",
        "a/small on b200": "0.250",
    }


@pytest.mark.browser
def test_the_plot_is_saved_as_an_image_and_the_theme_switches(opened):
    colour = "return getComputedStyle(document.body).backgroundColor"
    ask(opened, theme="dark", logx="log")
    assert opened.execute_script(colour) == "rgb(22, 24, 26)"
    assert "Idealized runtime (s), log" in opened.find_element("id", "scatter").text
    assert opened.find_element("css selector", "#scatter .better").is_displayed()
    png = base64.b64decode(downloaded(opened, "png").partition(",")[2])
    assert png.startswith(b"\x89PNG") and len(png) > 20_000
    ask(opened, theme="light", logx="")
    assert opened.execute_script(colour) == "rgb(255, 255, 255)"


@pytest.mark.browser
def test_no_error_and_no_request_but_for_the_file(opened):
    of_the_page = [entry for entry in opened.get_log("browser") if not entry["message"].startswith("chrome://")]
    assert of_the_page == []  # on a busy machine Chromium says of its own start page that the network is slow
    events = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert {url.partition(":")[0] for url in asked} <= {"file", "data", "chrome", "chrome-untrusted"}  # its start page
    assert any(url.endswith("report.html") for url in asked)


@pytest.mark.browser
def test_a_script_that_is_not_ours_would_not_run(opened):
    opened.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.stolen = 1'; document.body.append(s);"
    )
    assert opened.execute_script("return window.stolen === undefined")
    assert "Content Security Policy" in opened.get_log("browser")[0]["message"]


@pytest.mark.browser
def test_without_javascript_tables_and_plot_are_there(start_browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(html.to_html(small_board()), encoding="utf-8")
    plain = start_browser(javascript=False)
    plain.get(path.as_uri())
    rows = plain.find_elements("css selector", "#table-1 tbody tr")
    names = [row.find_element("css selector", "th").text for row in rows]
    assert names == ["org/large", "org/small", "api/<b>_new|$", "org/slow"]
    assert all(row.is_displayed() for row in rows)
    assert plain.find_element("css selector", "#figure img").is_displayed()
    assert not plain.find_element("id", "filter").is_displayed()
    assert plain.find_element("css selector", "table.scenarios").is_displayed()


@pytest.mark.browser
def test_scenarios_are_one_table_to_search(opened):
    rows = opened.find_elements("css selector", "table.scenarios tbody tr")
    assert [row.find_element("css selector", "th").text for row in rows] == ["s", "t"]
    score = r"0\.500 \(0\.\d+–0\.\d+\)\n0\.100 ●"
    assert re.fullmatch(score, rows[0].find_element("css selector", "td").text)
    assert opened.find_elements("css selector", "table.scenarios thead button")  # sorts by any model
    opened.find_element("id", "search").send_keys("t")
    assert [row.is_displayed() for row in rows] == [False, True]
    assert opened.find_element("id", "found").text == "1 of 2 scenarios"
    opened.find_element("id", "search").send_keys("\ue003")  # Backspace
    assert all(row.is_displayed() for row in rows)


@pytest.mark.browser
def test_a_page_of_many_models_is_alive(browser, tmp_path):
    board, _ = board_and_tables([f"org-{at % 7}/model-{at}" for at in range(120)], instances=2, num_draws=100)
    path = tmp_path / "many.html"
    path.write_text(html.to_html(board), encoding="utf-8")
    browser.get(path.as_uri())
    browser.get_log("browser")  # of earlier pages
    assert len(browser.find_elements("css selector", "#scatter circle")) == 120
    browser.find_element("id", "filter").send_keys("model-119")
    assert browser.find_element("id", "matches").text == "1 of 120 models"
    assert browser.get_log("browser") == []
