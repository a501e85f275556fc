#!/usr/bin/env python3
"""Uses the upload page as a clinician does: stock Uppy in a headless Chromium against the real gateway and store.

Arguments: URL FOLDER CHROMIUM. FOLDER has whole.pdf, again.pdf (the same bytes), cut.pdf, late.pdf, video.mp4 and
second.mp4 (24 MiB each), and gets screenshots. Prints a line for each thing that was seen; fails at the first that was not.
"""

import re
import sys
import time
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

URL, FOLDER, CHROMIUM = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
SLOW = 60_000


# Golden Retriever writes what it restores from a moment after each change.
KEPT = """(async () => {
  const db = await new Promise((resolve) => { const q = indexedDB.open('uppy-blobs'); q.onsuccess = () => resolve(q.result) })
  const all = await Promise.all([...db.objectStoreNames].map((n) => new Promise((resolve) => {
    const q = db.transaction(n).objectStore(n).getAll()
    q.onsuccess = () => resolve(q.result)
  })))
  db.close()
  return JSON.stringify(all).includes('s3Multipart')
})()"""


def seen(what):
    print(f"seen: {what}", flush=True)


def until(page, expression):
    """The page's policy allows no eval, which Playwright's own waiting needs."""
    deadline = time.monotonic() + SLOW / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(50)


def outcome(page, name):
    return page.locator("#outcomes li", has=page.locator(".name", has_text=name)).locator(".text")


def choose(page, *names):
    page.locator("#drop input[type=file]").first.set_input_files([str(FOLDER / n) for n in names])


def log_in(page):
    page.goto(f"{URL}/upload")
    button = page.get_by_role("button", name="Log in")
    expect(button).to_be_visible(timeout=SLOW)
    # By keyboard alone: from the top of the page, until the button has the focus.
    for _ in range(10):
        page.keyboard.press("Tab")
        if button.evaluate("b => b === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.get_by_role("button", name=re.compile("alice")).click()
    expect(page.get_by_role("heading", name="What became of them")).to_be_visible(timeout=SLOW)
    assert "code=" not in page.url, page.url
    seen("login by code and PKCE")


def small_files(page):
    choose(page, "whole.pdf")
    expect(outcome(page, "whole.pdf")).to_have_text(re.compile("^Delivered"), timeout=SLOW)
    expect(page.locator("#live")).to_have_text(re.compile("whole.pdf: Delivered"))
    seen("delivered, and said aloud")
    choose(page, "again.pdf")
    expect(outcome(page, "again.pdf")).to_have_text(re.compile(r"^Duplicate of your upload of \d?\d:\d\d"), timeout=SLOW)
    seen("duplicate of your upload")
    choose(page, "cut.pdf")
    expect(outcome(page, "cut.pdf")).to_have_text(re.compile("^Incomplete: the PDF ends early"), timeout=SLOW)
    seen("incomplete")


def number(url):
    return int(re.search(r"partNumber=(\d+)", url).group(1))


def resumed(page):
    """Parts of 8 MiB; the page is reloaded while the second is under way."""
    sent, hold = [], [True]

    def part(route):
        n = number(route.request.url)
        if n == 2 and hold[0]:
            return  # neither answered nor refused: a line that has gone quiet
        if route.request.method == "PUT":
            sent.append(n)
        route.continue_()

    page.route(re.compile("partNumber="), part)
    choose(page, "video.mp4")
    deadline = time.monotonic() + 60
    while 1 not in sent and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    until(page, "window.leadlineUppy.getFiles().some(f => f.s3Multipart && f.progress.bytesUploaded >= 8 * 2 ** 20)")
    until(page, KEPT)
    page.get_by_role("button", name=re.compile("^Pause")).first.click()
    seen("paused")
    page.screenshot(path=str(FOLDER / "uploading.png"), full_page=True)
    page.reload()
    hold[0] = False
    expect(page.locator("#drop .uppy-Dashboard-Item", has_text="video.mp4")).to_be_visible(timeout=SLOW)
    seen("the file is there again after a reload")
    go_on = page.get_by_role("button", name=re.compile("^(Resume|Restore|Upload)", re.I)).first
    if go_on.is_visible():
        go_on.click()
    expect(outcome(page, "video.mp4")).to_have_text(re.compile("^Delivered"), timeout=SLOW)
    assert sorted(sent) == [1, 2, 3], sent
    seen("resumed: no part was sent twice")


def offline(page):
    """The network goes away while the second part is under way, and comes back."""
    sent, away = [], [True]
    refused = []

    def part(route):
        n = number(route.request.url)
        if n == 2 and away[0]:
            refused.append(n)
            route.abort("internetdisconnected")
            return
        if route.request.method == "PUT":
            sent.append(n)
        route.continue_()

    page.unroute_all()
    page.route(re.compile("partNumber="), part)
    choose(page, "second.mp4")
    deadline = time.monotonic() + 60
    while not (refused and 1 in sent) and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    until(page, "window.leadlineUppy.getFiles().some(f => f.s3Multipart && f.progress.bytesUploaded >= 8 * 2 ** 20)")
    page.context.set_offline(True)
    expect(page.locator("#problem")).to_have_text(re.compile("^The network is away. Uploads go on by themselves"))
    page.screenshot(path=str(FOLDER / "offline.png"), full_page=True)
    seen("the network is away, and it says so")
    away[0] = False
    page.context.set_offline(False)
    expect(page.locator("#problem")).to_be_hidden()
    expect(outcome(page, "second.mp4")).to_have_text(re.compile("^Delivered"), timeout=SLOW)
    assert 1 in sent and sent.count(1) == 1 and set(sent) == {1, 2, 3}, sent
    seen("back, and gone on where it was: delivered")


def logged_out(page):
    """The login ends while a file is on its way: it has arrived, and goes on after the next login."""
    page.unroute_all()
    forbidden = [0]

    def nobody(route):
        forbidden[0] += 1
        route.fulfill(status=401, content_type="application/problem+json", body="{}")

    page.route(re.compile("/uploads/[^/]+/complete$"), nobody)
    choose(page, "late.pdf")
    expect(page.locator("#problem")).to_have_text(re.compile("^Your login has expired"), timeout=SLOW)
    assert forbidden[0] == 1, forbidden
    expect(outcome(page, "late.pdf")).to_have_text(re.compile("^Received"))
    seen("the login has ended, and what arrived is not refused")
    page.unroute_all()
    log_in(page)
    expect(outcome(page, "late.pdf")).to_have_text(re.compile("^Delivered"), timeout=SLOW)
    seen("logged in again: delivered")


def main():
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(locale="en-GB", timezone_id="Europe/London", viewport={"width": 900, "height": 900}).new_page()
        page.set_default_timeout(SLOW)
        complaints, elsewhere, asked = [], [], []
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: complaints.append(str(e)))
        page.on("request", lambda r: elsewhere.append(r.url) if not re.match(r"(http://127\.0\.0\.1:|data:|blob:)", r.url) else None)
        page.on("request", lambda r: asked.append(r.url))
        try:
            log_in(page)
            small_files(page)
            resumed(page)
            offline(page)
            logged_out(page)
        finally:
            page.screenshot(path=str(FOLDER / "page.png"), full_page=True)
            print("console:", complaints, flush=True)
        assert not [c for c in complaints if "Content Security Policy" in c], complaints
        assert not elsewhere, elsewhere
        assert not [u for u in asked if re.search(r"whole|again|cut\.|late\.|video", u)], asked
        seen("nothing from elsewhere, nothing against the policy, no name of a file in an address")
        # All at once: what Uppy says of the network comes with buttons and goes by itself.
        name = "e.getAttribute('aria-label') || e.innerText || e.labels?.[0]?.innerText || e.title"
        controls = page.locator("button:visible, input:visible")
        for name, html in controls.evaluate_all(f"all => all.map(e => [{name}, e.outerHTML])"):
            assert name and name.strip(), html
        seen("every control has a name")
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("button", name="Log in")).to_be_visible(timeout=SLOW)
        until(page, "(async () => (await indexedDB.databases()).length + localStorage.length + sessionStorage.length === 0)()")
        seen("nothing stays behind")
        browser.close()


main()
