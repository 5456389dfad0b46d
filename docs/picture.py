"""Take the pictures of a report for README and site: its first screen, and three of its sections. `make picture` runs it."""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

WIDTH, HEIGHT = 1200, 735
SECTIONS = ("leaderboard", "tasks", "why")
MARGIN = 16


def take(report: Path, folder: Path) -> None:
    """Write report.png and report-SECTION.png, in light colours."""
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        tab.goto(report.resolve().as_uri())
        tab.wait_for_load_state("networkidle")
        save(tab.screenshot(), folder / "report.png")
        for name in SECTIONS:
            save(section(tab, name), folder / f"report-{name}.png")
        browser.close()


def section(tab: Page, name: str) -> bytes:
    """The section with this id, without the bar that stays on top, and no more of it than two screens."""
    tab.add_style_tag(content="header.bar { position: static !important; }")
    box = tab.locator(f"#{name}").bounding_box()
    assert box is not None, f"the page has no section {name}"
    height = min(box["height"], 2 * HEIGHT) + MARGIN
    clip = {
        "x": box["x"] - MARGIN,
        "y": box["y"] + tab.evaluate("scrollY"),
        "width": box["width"] + 2 * MARGIN,
        "height": height,
    }
    return tab.screenshot(full_page=True, clip=clip)


def save(screenshot: bytes, path: Path) -> None:
    """Write a PNG with a palette, which takes a third of the space and shifts no colour by more than the eye can see."""
    picture = Image.open(io.BytesIO(screenshot)).convert("RGB")
    picture.quantize(method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]))
