"""Take the README's picture of a report: its verdicts, and a clip with its views in step.

    python docs/pictures/report.py results/report.html docs/pictures/report.png

Needs Chromium and its driver.
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
import browser

WIDTH_PX, HEIGHT_PX = 1280, 1640
COLOURS = 256
"""Of the picture's palette, which keeps it small."""


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    with browser.browser(WIDTH_PX, HEIGHT_PX) as driver:
        browser.open_page(driver, arguments.page)
        browser.wait(driver, "return document.querySelector('details[open] .views canvas[data-frame]')")
        # The distributions stand between the two things to show.
        driver.execute_script(
            "document.querySelectorAll('#distributions, #distributions ~ .plots, #distributions + p')"
            ".forEach(part => (part.hidden = true)); scrollTo(0, 0)"
        )
        browser.wait(driver, "return document.querySelector('details[open] .score-plot .main-svg')")
        picture = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    image.quantize(COLOURS).save(arguments.picture, optimize=True)
    print(f"{arguments.picture}: {arguments.picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
