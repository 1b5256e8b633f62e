"""The page of `midlayer serve` in a browser: used as a reader would use it.

page.py URL BROWSER FOLDER PROGRAM: PROGRAM is run in FOLDER to compare numbers.
"""

import json
import re
import shlex
import subprocess

from playwright.sync_api import expect

import browser
from browser import address, drag, folder, program, url


def command(page):
    return page.get_by_label("the command that prints these numbers")


def settled(page):
    expect(page.locator("body")).not_to_have_class(re.compile("busy"), timeout=60_000)
    expect(command(page)).not_to_be_empty()


def printed(page):
    """What the copied command prints: the clean line, and the others by their layer."""
    words = shlex.split(command(page).inner_text())
    assert words[:2] == ["midlayer", "try"], words
    done = subprocess.run([program, *words[1:], "-o", "json"], cwd=folder, capture_output=True, check=True)
    clean, *rest = [json.loads(line) for line in done.stdout.decode().splitlines()]
    return clean, {line["layer"]: line for line in rest}


def stays(page):
    """What is said of all layers is what the command prints of them."""
    clean, lines = printed(page)
    said = page.locator(".settled").inner_text()
    changed = [layer for layer, line in lines.items() if line["argmax"]["id"] != clean["argmax"]["id"]]
    after = [layer for layer in lines if layer > max(changed, default=-1)]
    if not after:
        assert "even at the last layer" in said, (said, changed)
    elif not changed:
        assert "at every layer" in said, said
    else:
        assert f"From layer {min(after)} up the next token stays" in said, (said, changed)


def numbers(locator):
    return [float(value) for value in locator.evaluate_all("all => all.map(one => one.dataset.value)")]


def same_numbers(page, layer):
    clean, lines = printed(page)
    line = lines[layer]
    columns = page.locator(".column")
    for column, expected in ((columns.nth(0), clean), (columns.nth(1), line)):
        top = [token["probability"] for token in expected["top"][:10]]
        assert numbers(column.locator("td[data-value]")) == top, (layer, top)
    pairs = [of["answers"][n]["probability"] for n in range(len(clean["answers"])) for of in (clean, line)]
    assert numbers(page.locator(".answers td[data-value]")) == pairs
    assert f"KL {line['kl']:.4f} nats" in page.locator(".sentence").inner_text()


def mapped(page, button):
    """Draws a map, and returns what its command prints."""
    page.get_by_role("button", name=button, exact=True).click()
    expect(page.locator(".map table")).to_be_visible(timeout=60_000)
    words = shlex.split(page.locator("[aria-label=maps] .command").inner_text())
    assert words[:2] == ["midlayer", "map"], words
    done = subprocess.run([program, *words[1:], "-o", "json"], cwd=folder, capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def maps(page):
    # Which state matters; a cell is that manipulation.
    states = mapped(page, "which state matters")
    cells = page.locator(".map td button")
    shown = cells.evaluate_all("all => all.map(one => one.dataset.value ?? null)")
    assert [value and float(value) for value in shown] == [state["value"] for state in states]
    at = next(n for n, state in enumerate(states) if state["position"] == 3 and state["layer"] == 2)
    cells.nth(at).click()
    expect(page.locator(".sentence")).to_contain_text("random at layer 2")
    settled(page)
    asked = address(page)
    assert [asked[key] for key in ("do", "tokens", "layer", "extent")] == [["random"], ["3"], ["2"], ["only"]]
    clean, lines = printed(page)
    logprob = lines[2]["answers"][0]["logprob"] - clean["answers"][0]["logprob"]
    assert abs(logprob - states[at]["value"]) < 1e-3, (logprob, states[at])
    # The lens, and from which layer on a prediction stays.
    states = mapped(page, "logit lens")
    rows = {}
    for state in states:
        rows.setdefault(state["position"], []).append(state)
    last = max(state["layer"] for state in states)
    first = [next(state["layer"] for state in row if state["stays"]) for row in rows.values()]
    strip = page.locator(".map tbody td:last-child").all_inner_texts()
    assert strip == ["out" if layer == last else str(layer) for layer in first], (strip, first)
    framed = page.locator(".map td button").evaluate_all("all => all.map(one => one.className === 'stays')")
    assert framed == [state["stays"] for state in states]
    page.locator(".map tbody tr").last.locator("button").nth(1).click()
    expect(page).to_have_url(re.compile("layer=1"))


def chip(page, group, n):
    return page.locator(group).locator(f'[data-position="{n}"]')


def main(started):
    context = started.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    wrong = browser.faults(page)
    page.goto(url)
    expect(page.locator(".slot")).to_have_count(4, timeout=60_000)

    # Another manipulation, a prompt typed key by key, an answer.
    page.get_by_label("manipulation 1", exact=True).select_option("zero")
    page.locator("#prompt").fill("")
    page.locator("#prompt").press_sequentially("abcdefgh")
    page.locator("#answer").fill("x")
    page.locator("#answer").press("Enter")
    settled(page)
    assert address(page)["prompt"] == ["abcdefgh"] and address(page)["do"] == ["zero"]

    # A layer is clicked, and left by the keyboard.
    page.locator('[data-layer="2"]').click()
    expect(page.locator(".sentence")).to_contain_text("zero at layer 2")
    same_numbers(page, 2)
    stays(page)
    page.keyboard.press("ArrowRight")
    expect(page.locator(".sentence")).to_contain_text("zero at layer 3")
    assert address(page)["layer"] == ["3"]
    page.locator('[data-layer="0"]').hover()
    expect(page.locator(".sentence")).to_contain_text("zero at layer 0")
    assert address(page)["layer"] == ["3"], "hovering only looks"

    # Tokens are dragged over, and taken back by the browser.
    drag(page, chip(page, ".ask > .chips", 1), chip(page, ".ask > .chips", 3))
    expect(page).to_have_url(re.compile("tokens=1-3"))
    settled(page)
    assert "--tokens 1-3" in command(page).inner_text()
    expect(page.locator(".ask > .chips .on")).to_have_count(3)
    page.go_back()
    expect(page).not_to_have_url(re.compile("tokens"))
    page.go_forward()
    expect(page).to_have_url(re.compile("tokens=1-3"))
    settled(page)
    same_numbers(page, 3)

    # The address alone gives the same in another browser.
    other = started.new_context().new_page()
    other.goto(page.url)
    settled(other)
    assert other.locator(".sentence").inner_text() == page.locator(".sentence").inner_text()
    other.close()

    # Layers are dragged over: a window of them.
    drag(page, page.locator('[data-layer="1"]'), page.locator('[data-layer="2"]'))
    expect(page).to_have_url(re.compile("extent=window"))
    settled(page)
    expect(page.locator(".sentence")).to_contain_text("layers 1 to 2")

    # A token of a donor is dragged onto one of the prompt.
    page.get_by_label("manipulation 1", exact=True).select_option("inject")
    page.locator("#donor").fill("xyz")
    donor = chip(page, ".donor .chips", 1)
    expect(donor).to_be_visible()
    donor.drag_to(chip(page, ".ask > .chips", 4))
    expect(page).to_have_url(re.compile("at=.*from="))
    settled(page)
    page.locator('[data-layer="1"]').click()
    same_numbers(page, 1)

    # A prompt without what was replaced: its own tokens are there to choose from.
    page.locator("#prompt").fill("uvwxyz")
    expect(page.locator(".problem")).to_contain_text("Click the token that is to be replaced")
    expect(page.locator(".ask > .chips .chip")).to_have_count(8)
    chip(page, ".ask > .chips", 3).click()
    expect(page).to_have_url(re.compile("at=v&"))
    settled(page)
    expect(page.locator(".problem")).to_be_empty()
    stays(page)
    page.locator("#prompt").fill("abcdefgh")
    expect(page.locator(".ask > .chips .chip")).to_have_count(10)
    chip(page, ".ask > .chips", 4).click()
    settled(page)

    # Two of them, in another order.
    page.get_by_role("button", name="+ another", exact=True).click()
    expect(page.locator(".stack > li")).to_have_count(2)
    assert address(page)["do"] == ["inject", "freeze"]
    drag(page, page.locator(".stack .handle").nth(1), page.locator(".stack > li").nth(0))
    expect(page).to_have_url(re.compile("do=freeze&do=inject"))
    page.get_by_role("button", name="remove freeze").click()
    settled(page)

    # What the prompt is about, without all others.
    page.get_by_label("manipulation 1", exact=True).select_option("zero")
    page.get_by_role("button", name=re.compile("^only ")).click()
    settled(page)
    asked = address(page)
    expect(page.locator(".ask > .chips .on")).to_have_count(1)
    assert asked["tokens"] == ["4"] and page.locator(".ask > .chips .on").inner_text() == asked["at"][0]
    maps(page)
    page.get_by_label("manipulation 1", exact=True).select_option("inject")
    settled(page)

    # Off, and on again.
    page.get_by_label("inject on").uncheck()
    expect(page.locator(".problem")).to_contain_text("Switch a manipulation on")
    page.get_by_label("inject on").check()
    settled(page)
    expect(page.locator(".problem")).to_be_empty()

    lines = browser.saved(page, page.get_by_role("button", name="CSV")).decode().splitlines()
    assert lines[0].startswith("layer,kl,") and len(lines) == 1 + 3 * (1 + 4), lines

    # What is typed is text, whichever way it is written.
    for text in ("<img src=x onerror=alert(1)>", "שלום עולם", "日本 🦙 \u0301"):
        page.get_by_label("manipulation 1", exact=True).select_option("freeze")
        page.locator("#prompt").fill(text)
        expect(page).to_have_url(re.compile("do=freeze"))
        settled(page)
        assert page.locator("main img").count() == 0
    page.locator("#prompt").fill("a" * 3000)
    expect(page.locator(".problem")).not_to_be_empty(timeout=60_000)
    wrong[:] = [text for text in wrong if "status of 4" not in text and "status of 5" not in text]

    browser.fits(page)
    assert not wrong, wrong


browser.run(main)
