"""The one-file report: complete, escaped, small, the same every time; and, in a real browser, alive and silent."""

import json
import re
from html import unescape
from html.parser import HTMLParser

import matplotlib
import pytest
from helpers.scored_tables import request, small_board, tables

from helm_efficiency import __version__
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


def board_and_tables(models, scenarios=("s",), instances=4, **options):
    rows = [
        request(
            model, scenario, index, float(index % (at + 2) == 0), idealized_s=0.1 * (at + 1), denoised_s=0.2 * (at + 1)
        )
        for at, model in enumerate(models)
        for scenario in scenarios
        for index in range(instances)
    ]
    found = from_arrow(*tables(rows))
    return build(found, Options(**options)), found


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
    for text in ("org/large", "api/<b>_new|$", "2 (1–2)", "0.850 (0.750–0.950)", "— (0/10)", "● 100%"):
        assert text in [cell.strip() for cell in cells]


def test_it_asks_the_network_for_nothing(page):
    for tag, attributes in _Page(page).tags:
        assert tag not in ("iframe", "object", "embed", "base", "form", "audio", "video")
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith(("#", "data:"))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")
    assert "url(" not in page.partition("</style>")[0]
    assert "@import" not in page


def test_nothing_from_outside_becomes_markup():
    board, found = board_and_tables(NASTY, scenarios=["<i>s</i>", "t"])
    text = html.to_html(board, title="<b>", provenance=html.provenance(found))
    page = _Page(text)
    assert not [tag for tag, _ in page.tags if tag in ("img", "b", "i")]
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
    board, _ = board_and_tables(models, scenarios, instances=2, num_draws=20)
    assert len(html.to_html(board).encode()) < 5_000_000


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
        "Idealized runtime (s) 0.2",
        "Denoised runtime (s) 0.4",
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

    assert [option.text for option in Select(opened.find_element("id", "part")).options] == ["all scenarios", "s", "t"]
    axis = Select(opened.find_element("id", "x"))
    assert axis.first_selected_option.text == "Idealized runtime (s)"
    axis.select_by_visible_text("Denoised runtime (s)")
    assert "Denoised runtime (s)" in opened.find_element("id", "scatter").text
    axis.select_by_visible_text("Idealized runtime (s)")
    assert len(opened.find_elements("css selector", "#scatter circle")) == 3


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
    assert plain.find_element("css selector", "#figure svg").is_displayed()
    assert not plain.find_element("id", "filter").is_displayed()
    assert plain.find_element("css selector", "table.scenarios").is_displayed()


@pytest.mark.browser
def test_scenarios_are_one_table_to_search(opened):
    rows = opened.find_elements("css selector", "table.scenarios tbody tr")
    assert [row.find_element("css selector", "th").text for row in rows] == ["s", "t"]
    score = r"0\.500 \(0\.\d+–0\.\d+\); 0\.100 ●"
    assert re.fullmatch(score, rows[0].find_element("css selector", "td").text)
    opened.find_element("id", "search").send_keys("t")
    assert [row.is_displayed() for row in rows] == [False, True]
    assert opened.find_element("id", "found").text == "1 found"
    opened.find_element("id", "search").send_keys("\ue003")  # Backspace
    assert all(row.is_displayed() for row in rows)


@pytest.mark.browser
def test_a_page_of_many_models_is_alive(browser, tmp_path):
    board, _ = board_and_tables([f"org-{at % 7}/model-{at}" for at in range(120)], instances=2)
    path = tmp_path / "many.html"
    path.write_text(html.to_html(board), encoding="utf-8")
    browser.get(path.as_uri())
    browser.get_log("browser")  # of earlier pages
    assert len(browser.find_elements("css selector", "#scatter circle")) == 120
    browser.find_element("id", "filter").send_keys("model-119")
    assert browser.find_element("id", "matches").text == "1 of 120 models"
    assert browser.get_log("browser") == []
