"""Several models and stored runs on the page of `midlayer serve`, in a browser.

page_models.py URL BROWSER FOLDER PROGRAM: PROGRAM is run in FOLDER to compare numbers.
"""

import json
import re
import urllib.request

from playwright.sync_api import expect

import browser
from browser import address, same_numbers, settled, url


def views(page):
    return page.locator(".beside > .one")


def saved(page, view, name):
    return browser.saved(page, view.get_by_role("button", name=name, exact=True))


def several_models(page, context):
    # In this order: what inject replaces is not in this prompt.
    page.get_by_label("manipulation 1", exact=True).select_option("zero", timeout=60_000)
    page.locator("#prompt").fill("abcdefgh")
    beside = page.get_by_role("button", name="+ another model beside it")
    expect(beside).to_be_visible(timeout=60_000)
    expect(views(page)).to_have_count(1)
    beside.click()
    expect(views(page)).to_have_count(2)
    expect(beside).to_be_hidden()
    assert address(page)["model"] == ["tiny.gguf", "six.gguf"]
    settled(page)
    slots = page.locator(".slots")
    expect(slots.nth(0).locator(".slot.there")).to_have_count(4)
    expect(slots.nth(1).locator(".slot.there")).to_have_count(6)
    # In step: the same depth in both, whichever is clicked.
    for column, clicked, layers in ((0, 3, (3, 5)), (1, 0, (0, 0)), (0, 2, (2, 3))):
        slots.nth(column).locator(f'[data-layer="{clicked}"]').click()
        for n, layer in enumerate(layers):
            expect(views(page).nth(n).locator(".sentence")).to_contain_text(f"zero at layer {layer}")
    same_numbers(views(page).nth(0), "tiny.gguf", 2)
    same_numbers(views(page).nth(1), "six.gguf", 3)
    # The address alone shows both.
    other = context.browser.new_context().new_page()
    other.goto(page.url)
    expect(views(other)).to_have_count(2)
    settled(other)
    for n in (0, 1):
        assert views(other).nth(n).locator(".sentence").inner_text() == views(page).nth(n).locator(".sentence").inner_text()
    other.close()
    # What is saved is the column's.
    six = views(page).nth(1)
    picture = saved(page, six, "SVG").decode()
    assert picture.startswith("<svg") and "six.gguf" in picture and picture.count("<circle") == 12, picture[:300]
    assert saved(page, six, "PNG").startswith(b"\x89PNG")
    plan = json.loads(saved(page, six, "plan"))
    assert plan["interventions"][0]["layer"] == 3 and plan["model"]["layers"] == 6, plan
    notebook = json.loads(saved(page, six, "notebook"))
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for source in code:
        compile(source, "notebook", "exec")
    assert 'ml.Model("six.gguf"' in code[0] and "ml.zero()" in code[0], code[0]
    # These are the cells that python/tests/test_page.py runs.
    asked = {"prompt": "abcdefgh", "manipulate": ["zero"], "answer": [" Paris", " Rome"], "model": "six.gguf"}
    request = urllib.request.Request(url + "v1/try", json.dumps(asked).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        assert code == [json.loads(answer.readline())["python"], "r.kl, r.answer_probs"], code
    # One goes, and back brings it again.
    page.get_by_role("button", name="do not show tiny.gguf").click()
    expect(views(page)).to_have_count(1)
    assert address(page)["model"] == ["six.gguf"]
    page.go_back()
    expect(views(page)).to_have_count(2)
    page.get_by_label("model 2", exact=True).select_option("tiny.gguf")
    expect(page).to_have_url(re.compile("model=tiny.gguf&model=tiny.gguf$"))
    page.go_back()


def kept_states(page):
    page.locator("#prompt").fill("hgfedcba")
    settled(page)
    page.locator(".slots").first.locator('[data-layer="1"]').click()
    before = views(page).first.locator(".sentence").inner_text()
    count = views(page).count()
    page.get_by_role("button", name="keep this beside what comes").click()
    expect(views(page)).to_have_count(count + 1)
    page.locator("#prompt").fill("something else")
    expect(page).to_have_url(re.compile("prompt=something"))
    settled(page)
    page.locator(".slots").first.locator('[data-layer="2"]').click()
    kept = views(page).last
    expect(kept.locator(".sentence")).to_have_text(before)
    same_numbers(kept, "tiny.gguf", 1)
    page.get_by_role("button", name="change places").click()
    expect(page).to_have_url(re.compile("#prompt=hgfedcba"))
    settled(page)
    expect(views(page).first.locator(".sentence")).to_have_text(before)
    page.get_by_role("button", name="do not show what was kept").click()
    expect(views(page)).to_have_count(count)


def stored_runs(page):
    page.locator(".runs summary").click()
    page.get_by_role("button", name="one", exact=True).click()
    expect(page.locator(".runs .progress")).to_contain_text("complete")
    figure = page.locator(".runs figure")
    assert figure.locator("circle").count() == 8, "two manipulations at four layers"
    page.get_by_role("button", name="report", exact=True).click()
    report = page.frame_locator("iframe.report")
    expect(report.locator("h1")).to_be_visible(timeout=60_000)
    expect(report.locator(".js-plotly-plot, .plotly").first).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="report", exact=True).click()
    expect(page.locator("iframe.report")).to_have_count(0)
    page.locator("[data-item]").first.click()
    prompt = page.locator(".runs .prompt").inner_text()
    cell = page.locator('.runs [data-layer-of="2"]').first
    kl = float(cell.get_attribute("data-kl"))
    cell.click()
    expect(page).to_have_url(re.compile("layer=2"))
    settled(page)
    assert address(page)["prompt"] == [prompt]
    assert "run" in address(page)
    assert "model" not in address(page), "the first model is the run's"
    shown = float(re.search(r"KL ([0-9.]+) nats", page.locator(".sentence").first.inner_text()).group(1))
    assert abs(shown - kl) < 2e-4, (shown, kl)
    # The address opens the run, too.
    other = page.context.browser.new_context().new_page()
    other.goto(page.url)
    expect(other.locator(".runs .progress")).to_contain_text("complete", timeout=60_000)
    other.close()


def main(started):
    context = started.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    wrong = browser.faults(page)
    page.goto(url)
    several_models(page, context)
    kept_states(page)
    stored_runs(page)
    browser.fits(page)
    assert not wrong, wrong


browser.run(main)
