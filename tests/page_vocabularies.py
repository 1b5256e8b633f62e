"""Models with unlike vocabularies beside each other on the page of `midlayer serve`.

page_vocabularies.py URL BROWSER FOLDER PROGRAM: PROGRAM is run in FOLDER to compare numbers.
tiny.gguf reads bytes, pairs.gguf two small letters at once.
"""

import re

from playwright.sync_api import expect

import browser
from browser import address, drag, same_numbers, settled, url


def pictures(page, first, second):
    """An emoji and an accent, which one model reads as tokens and the other as bytes that are no
    text by themselves.
    """
    page.locator("#prompt").fill("\U0001f999\u0301ab")
    own = page.locator(".ask > .chips .chip")
    expect(own.nth(2)).to_have_text("<F0>")
    settled(page)
    bytes_of = ["<F0>", "<9F>", "<A6>", "<99>", "<CC>", "<81>"]
    assert own.all_inner_texts() == ["<s>", "␣", *bytes_of, "a", "b"]
    theirs = page.locator(".others").nth(1).locator(".chip")
    assert theirs.all_inner_texts() == ["<s>", "␣", "\U0001f999", "\u25cc\u0301", "ab"]
    # A byte of it chosen here is all of it there.
    own.nth(3).click()
    expect(page).to_have_url(re.compile("tokens=3$|tokens=3&"))
    settled(page)
    chosen = page.locator(".others").nth(1).locator(".chip.on")
    assert chosen.all_inner_texts() == ["\U0001f999"]
    page.locator(".slots").first.locator('[data-layer="2"]').click()
    for view, model in ((first, "tiny.gguf"), (second, "pairs.gguf")):
        same_numbers(view, model, 2)
        view.get_by_role("button", name="continue both by 24 tokens").click()
        expect(view.locator(".text").nth(1)).not_to_be_empty()
        shown = view.locator(".column bdi.token, .text")
        assert shown.count() == 22, "ten next tokens of each run, and their texts"
        assert all(text.strip() and "\ufffd" not in text for text in shown.all_inner_texts())
    # Bytes that are no text are told by their numbers.
    assert any(re.fullmatch("<[0-9A-F]{2}>", text) for text in first.locator(".column bdi.token").all_inner_texts())


def main(started):
    page = started.new_context(viewport={"width": 1280, "height": 900}).new_page()
    wrong = browser.faults(page)
    page.goto(url)
    page.get_by_label("manipulation 1", exact=True).select_option("zero", timeout=60_000)
    page.locator("#prompt").fill("abcdefgh")
    page.get_by_role("button", name="+ another model beside it").click(timeout=60_000)
    expect(page.locator(".beside > .one")).to_have_count(2)
    settled(page)
    first, second = page.locator(".beside > .one").all()
    # Each shows its own tokens.
    own = page.locator(".ask > .chips .chip")
    theirs = page.locator(".others").nth(1).locator(".chip")
    assert (own.count(), theirs.count()) == (10, 6), "<s>, a space, and eight letters or four pairs"
    # What is chosen of the first is what holds its text in the second: d of "cd", and "ef".
    drag(page, own.nth(5), own.nth(7))
    expect(page).to_have_url(re.compile("tokens=5-7"))
    settled(page)
    assert "--tokens 5-7" in first.locator(".command").inner_text()
    assert "--tokens 3-4" in second.locator(".command").inner_text()
    chosen = page.locator(".others").nth(1).locator(".chip.on")
    assert chosen.all_inner_texts() == ["cd", "ef"]
    page.locator(".slots").first.locator('[data-layer="2"]').click()
    for view, model in ((first, "tiny.gguf"), (second, "pairs.gguf")):
        same_numbers(view, model, 2)
        view.get_by_role("button", name="continue both by 24 tokens").click()
        expect(view.locator(".text")).to_have_count(2)
        expect(view.locator(".text").nth(1)).not_to_be_empty()
    # Without positions each is asked about all of its own.
    page.get_by_role("button", name="all prior tokens").click()
    settled(page)
    assert "tokens" not in address(page)
    assert "--tokens" not in second.locator(".command").inner_text()
    same_numbers(second, "pairs.gguf", 2)
    pictures(page, first, second)
    browser.fits(page)
    assert not wrong, wrong


browser.run(main)
