"""Stored runs on the page of `midlayer serve` without a model, in a browser.

page_runs.py URL BROWSER FOLDER PROGRAM
"""

import re

from playwright.sync_api import expect

import browser
from browser import url


def main(started):
    page = started.new_context(viewport={"width": 1280, "height": 900}).new_page()
    wrong = browser.faults(page)
    page.goto(url)
    status = page.locator("header .status")
    expect(status).to_contain_text("No model is served")
    expect(page.locator("#prompt")).to_be_hidden()
    for run in ("one", "two"):
        page.get_by_role("button", name=run, exact=True).click()
        expect(page.locator(".runs h2").first).to_have_text(run)
        expect(page.locator(".runs figure circle")).to_have_count(4)
        expect(status).to_contain_text("No model is served")
    page.go_back()
    expect(page.locator(".runs h2").first).to_have_text("one")
    # What cannot be asked again says why.
    page.locator("[data-item]").first.click()
    page.locator(".runs [data-layer-of]").first.click()
    expect(page.locator(".runs .problem")).to_contain_text("no model is served here")
    page.locator(".runs .list button").first.click()
    expect(page.locator(".runs figure")).to_have_count(0)
    expect(page).not_to_have_url(re.compile("run="))
    wrong[:] = [text for text in wrong if "status of 409" not in text]
    assert not wrong, wrong


browser.run(main)
