"""What the scripts that use the page in a browser have in common.

SCRIPT URL CHROMIUM FOLDER PROGRAM: PROGRAM is run in FOLDER to compare numbers.
"""

import sys
from urllib.parse import parse_qs

from playwright.sync_api import sync_playwright

url, chromium, folder, program = sys.argv[1:]


def address(page):
    return parse_qs(page.url.split("#", 1)[1], keep_blank_values=True)


def faults(page):
    """What goes wrong on a page from now on: errors, and requests to elsewhere."""
    wrong = []
    page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: request.url.startswith((url, "data:", "blob:")) or wrong.append(request.url))
    return wrong


def fits(page):
    """Nothing is wider than the window."""
    for width in (400, 768, 2560):
        page.set_viewport_size({"width": width, "height": 900})
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{wide} pixels in a window of {width}"


def run(main):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        try:
            main(browser)
        finally:
            browser.close()
