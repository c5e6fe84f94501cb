"""The page as somebody uses it: in a real browser, by keyboard, against a real server."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, async_playwright, expect

pytestmark = [pytest.mark.slow, pytest.mark.engine("bubblewrap"), pytest.mark.xdist_group("serve")]

EXAMPLE = """\
# Draws a sine wave as an SVG, without any library.
import math

wave = [90 - 70 * math.sin(x / 30) for x in range(421)]
points = " ".join(f"{x},{y:.1f}" for x, y in enumerate(wave))
size = 'width="420" height="180" viewBox="0 0 420 180"'
line = f'<polyline points="{points}" fill="none" stroke="#1f5fcc"/>'
xmlns = "http://www.w3.org/2000/svg"

with open("wave.svg", "w") as file:
    file.write(f'<svg xmlns="{xmlns}" {size}>{line}</svg>')

for step in range(5):
    angle = step * math.pi / 8
    print(f"sin({angle:.3f}) = {math.sin(angle):.6f}")"""


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page in Chromium that notes what goes wrong in it, and what it asks other servers for."""
    chromium = shutil.which("chromium")
    if chromium is None:
        assert "bubblewrap" not in os.environ.get("XAGENT_REQUIRE_ENGINES", ""), "chromium is not installed"
        pytest.skip("chromium is not installed")
    expect.set_options(timeout=60_000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = await browser.new_context(color_scheme="light", viewport={"width": 1360, "height": 820})
        page = await context.new_page()
        page.wrong = []
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("console", lambda message: message.type == "error" and page.wrong.append(message.text))
        page.asked = set()
        page.on("request", lambda request: page.asked.add(urlsplit(request.url).netloc))
        yield page
        await browser.close()


async def opened(page, server) -> Page:
    await page.goto(f"{server.url}/")
    await expect(page.locator("#health li").first).to_be_visible()
    return page


async def write(page, code):
    await page.locator(".cm-content").focus()
    await page.keyboard.press("Control+a")
    await page.keyboard.press("Delete")
    await page.keyboard.insert_text(code)


async def run(page, code) -> str:
    await write(page, code)
    await page.keyboard.press("Control+Enter")
    await expect(page.locator("#status")).not_to_have_attribute("data-state", "running")
    return await page.locator("#output").inner_text()


async def picture(page, name):
    """Where somebody wants the pictures of the documentation."""
    if folder := os.environ.get("XAGENT_SCREENSHOTS"):
        await page.screenshot(path=Path(folder, f"page-{name}.png"))


async def test_a_program_is_run_by_keyboard_and_all_of_it_is_seen(page, server):
    await opened(page, server)
    assert await page.evaluate("document.activeElement.getAttribute('aria-label')") == "Program"
    assert await run(page, EXAMPLE) == "".join(
        f"sin({a}) = {s}\n"
        for a, s in [
            ("0.000", "0.000000"),
            ("0.393", "0.382683"),
            ("0.785", "0.707107"),
            ("1.178", "0.923880"),
            ("1.571", "1.000000"),
        ]
    )
    assert "Done" in await page.locator("#status").inner_text()
    image = page.locator("#figures img")
    assert await image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 420
    assert await page.locator("#figures a").get_attribute("download") == "wave.svg"
    await picture(page, "light")
    await page.get_by_role("button", name="Theme").click(click_count=2)
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 21, 27)"
    await page.locator(".cm-content").focus()
    await picture(page, "dark")

    assert "<b>not bold</b>" in await run(page, "print('<b>not bold</b><script>alert(1)</script>')")
    assert await page.locator("#output b").count() == 0
    await run(page, "import sys; print('oops', file=sys.stderr); sys.exit(3)")
    assert "exit code 3" in await page.locator("#status").inner_text()
    assert await page.locator("#output .stderr").inner_text() == "oops\n"

    await page.reload()
    await expect(page.locator("#history li")).to_have_count(3)
    await page.get_by_role("button", name="Draws a sine wave").click()
    assert "sin(1.571) = 1.000000" in await page.locator("#output").inner_text()
    await expect(page.locator(".cm-line").first).to_have_text("# Draws a sine wave as an SVG, without any library.")
    await page.get_by_role("button", name="Clear").click()
    await expect(page.locator("#history li")).to_have_count(0)
    assert page.wrong == []
    assert page.asked - {""} == {server.url.partition("//")[2]}, "nothing comes from anywhere else"


async def test_output_is_seen_while_the_program_runs_and_stop_ends_it(page, server):
    await opened(page, server)
    await page.get_by_label("Language").select_option("bash")
    await write(page, "for i in 1 2 3; do echo tick $i; sleep 0.2; done; sleep 25")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator("#output")).to_contain_text("tick 1")
    await expect(page.locator("#status")).to_have_text("Running …")
    await expect(page.locator("#output")).to_contain_text("tick 3")
    await page.get_by_role("button", name="Stop").click()
    await expect(page.locator("#status")).to_have_text("Stopped by you")
    server.wait_until(lambda: not server.running(), "the program goes on")
    assert page.wrong == []


async def test_the_keyboard_keeps_its_place_from_run_to_stop_and_back(page, server):
    await opened(page, server)
    await write(page, "import time; time.sleep(25)")
    await page.locator("#run").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#stop")).to_be_focused()
    await expect(page.locator("#output")).to_have_attribute("data-empty", "No output yet.")
    await page.keyboard.press("Enter")
    await expect(page.locator("#status")).to_have_text("Stopped by you")
    await expect(page.locator("#run")).to_be_focused()


@pytest.mark.parametrize("width", [1360, 400])
async def test_the_last_line_is_in_sight_and_nothing_is_wider_than_the_window(page, server, width):
    await page.set_viewport_size({"width": width, "height": 820})
    await opened(page, server)
    await expect(page.get_by_role("button", name="Clear")).to_be_hidden()
    await expect(page.locator("#history")).to_have_attribute("data-empty", "Earlier runs of this tab are kept here.")
    await run(page, "for line in range(300): print(line, 'and so on ' * 20)\nprint('x' * 9999)\n1/0")
    await expect(page.get_by_role("button", name="Clear")).to_be_visible()
    last = page.locator("#output .stderr").last
    below = "e => { const [a, b] = [e, e.parentElement].map(x => x.getBoundingClientRect().bottom); return a - b }"
    assert await last.evaluate(below) <= 0
    assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_limits_are_told_and_held(page, server):
    await opened(page, server)
    await expect(page.locator("#limits")).to_contain_text("64 processes")
    await page.get_by_label("Language").select_option("bash")
    await page.get_by_label("Seconds").fill("6")
    await page.get_by_text("Input, arguments and files").click()
    await page.get_by_label("Standard input").fill("from the page")
    await page.get_by_label("Put into its folder").set_input_files(
        {"name": "note.txt", "mimeType": "text/plain", "buffer": b"a file"}
    )
    assert await run(page, "cat note.txt; echo; cat; sleep 30") == "a file\nfrom the page"
    assert "its time was up" in await page.locator("#status").inner_text()
    await page.get_by_label("Memory, MiB").fill("7")
    await page.get_by_label("Language").select_option("go")
    await run(page, "package main")
    assert "less than go needs" in await page.locator("#status").inner_text()


async def test_a_file_that_has_gone_is_told_and_the_page_goes_on(page, server, tmp_path):
    note = tmp_path / "note.txt"
    note.write_text("soon gone")
    await opened(page, server)
    await page.get_by_text("Input, arguments and files").click()
    await page.get_by_label("Put into its folder").set_input_files(note)
    note.unlink()
    await run(page, "print(1)")
    await expect(page.locator("#status")).to_contain_text("note.txt cannot be read")
    await expect(page.locator("#status")).to_have_attribute("data-state", "error")
    await page.get_by_label("Put into its folder").set_input_files([])
    assert await run(page, "print(2)") == "2\n"
    assert page.wrong == []


async def test_a_browser_that_is_not_logged_in_sees_nothing_else(page, start):
    locked = start("--backend", "bubblewrap", "--token")
    await page.goto(f"{locked.url}/")
    assert page.url == f"{locked.url}/login"
    await page.get_by_label("Token").fill("not-the-token-at-all")
    await page.keyboard.press("Enter")
    await expect(page.locator("#status")).to_have_text("That is not the token.")
    await expect(page.locator("#status")).to_have_attribute("data-state", "error")
    await page.goto(f"{locked.url}/login#token={locked.token}")
    await expect(page.locator("#health li").first).to_be_visible()
    assert await page.evaluate("document.cookie") == ""
    assert await run(page, "print(1)") == "1\n"
    await page.get_by_role("button", name="Log out").click()
    await page.wait_for_url("**/login")
    await page.goto(f"{locked.url}/")
    assert page.url == f"{locked.url}/login"


def test_the_editor_that_is_shipped_was_built_of_what_is_pinned():
    folder = Path(__file__).parents[1]
    pinned = json.loads((folder / "web/package.json").read_text())["devDependencies"]
    named = (folder / "xagent_server_langserve/static/LICENSES.txt").read_text().splitlines()
    assert {f"{name} {version}" for name, version in pinned.items() if name != "esbuild"} <= set(named)
