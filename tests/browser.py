"""What the scripts that use the page in a browser have in common.

SCRIPT URL BROWSER FOLDER PROGRAM: BROWSER is the path of Chromium or Firefox, PROGRAM is run in
FOLDER to compare numbers.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import parse_qs

from playwright.sync_api import expect, sync_playwright

url, path, folder, program = sys.argv[1:]
firefox = "firefox" in os.path.basename(path)
kept = tempfile.TemporaryDirectory()
downloads = Path(kept.name)


def address(page):
    return parse_qs(page.url.split("#", 1)[1], keep_blank_values=True)


def drag(page, start, end):
    start.hover()
    page.mouse.down()
    end.hover()
    page.mouse.up()


def settled(page):
    expect(page.locator("body")).not_to_have_class(re.compile("busy"), timeout=60_000)
    for command in page.get_by_label("the command that prints these numbers").all():
        expect(command).not_to_be_empty()


def same_numbers(view, model, layer):
    """A column's numbers are those of its own command."""
    words = shlex.split(view.locator(".command").inner_text())
    assert words[words.index("-m") + 1] == model, words
    done = subprocess.run([program, *words[1:], "-o", "json"], cwd=folder, capture_output=True, check=True)
    clean, *rest = [json.loads(line) for line in done.stdout.decode().splitlines()]
    line = next(line for line in rest if line["layer"] == layer)
    for n, expected in ((0, clean), (1, line)):
        column = view.locator(".column").nth(n).locator("td[data-value]")
        shown = [float(value) for value in column.evaluate_all("all => all.map(one => one.dataset.value)")]
        assert shown == [token["probability"] for token in expected["top"][:10]], (model, layer, shown)
    assert f"KL {line['kl']:.4f} nats" in view.locator(".sentence").inner_text()


def saved(page, button):
    """The bytes of the file that a button saves."""
    if not firefox:
        with page.expect_download() as download:
            button.click()
        return Path(download.value.path()).read_bytes()
    # Playwright is told of Firefox's downloads and does not tell of them.
    before = set(downloads.iterdir())
    button.click()
    for _ in range(300):
        there = [file for file in set(downloads.iterdir()) - before if file.suffix != ".part"]
        if there and there[0].stat().st_size > 0:
            return there[0].read_bytes()
        time.sleep(0.1)
    raise AssertionError("nothing was saved")


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
        if firefox:
            # By WebDriver BiDi; Playwright's own protocol needs a Firefox of its own.
            prefs = {"browser.download.folderList": 2, "browser.download.dir": str(downloads)}
            browser = playwright.firefox.launch(
                channel="moz-firefox", executable_path=path, downloads_path=downloads, firefox_user_prefs=prefs
            )
        else:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            main(browser)
        finally:
            browser.close()
