"""A dashboard in headless Chromium: console errors, requests, draw time, blank charts, screenshots light, dark and narrow.

Needs playwright (pip install playwright) and a Chromium: --chromium PATH. The page is read from disk.

    python benchmarks/dashboard_browser.py build/dashboard/diagnostics/v50_report_v1.html --shots build/dashboard
"""

import argparse
import json
import time
from pathlib import Path

VIEWS = {"light": (1280, 900, "light"), "dark": (1280, 900, "dark"), "narrow": (390, 800, "light")}
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync")
BLANK = """() => {
  const canvases = node => [...node.querySelectorAll('*')].flatMap(
    e => [...(e.tagName === 'CANVAS' ? [e] : []), ...(e.shadowRoot ? canvases(e.shadowRoot) : [])]);
  const pixels = c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  const inked = c => c.width && pixels(c).filter((v, i) => i % 4 === 3 && v).length > 1000;
  return [
    ...[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.alt),
    ...['spectrum', 'umap_plot', 'tsne_plot'].filter(id => {
      const place = document.getElementById(id);
      return !place || !canvases(place).some(inked);
    }),
  ];
}"""


def look(page_path: Path, chromium: str | None, shots: Path | None) -> dict:
    """Open the page once for each view; a dict of what was seen, JSON-able."""
    from playwright.sync_api import sync_playwright

    seen = {"bytes": page_path.stat().st_size, "views": {}}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(QUIET))
        for name, (width, height, scheme) in VIEWS.items():
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            page, errors, requests, alerts = context.new_page(), [], [], []
            page.on("console", lambda m, errors=errors: errors.append(m.text) if m.type in ("error", "warning") else None)
            page.on("pageerror", lambda e, errors=errors: errors.append(str(e)))
            page.on("dialog", lambda d, alerts=alerts: (alerts.append(d.message), d.dismiss()))
            page.on("request", lambda r, requests=requests: requests.append(r.url[:80]))
            started = time.monotonic()
            page.goto(page_path.resolve().as_uri())
            page.wait_for_function("document.documentElement.dataset.drawn")
            page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            drawn = time.monotonic() - started
            page.focus("#planets")
            before = page.text_content("#caption")
            page.keyboard.press("ArrowDown")
            view = {
                "drawn_s": round(drawn, 2), "errors": errors, "alerts": alerts, "blank": page.evaluate(BLANK),
                "requests": [url for url in requests if not url.startswith(("file:", "data:", "blob:"))],
                "keyboard_moves_planet": page.text_content("#caption") != before,
                "wider_than_window": page.evaluate("document.documentElement.scrollWidth > innerWidth"),
            }  # fmt: skip
            if shots:
                page.screenshot(path=str(shots / f"dashboard_{name}.png"), full_page=True)
            seen["views"][name] = view
            context.close()
        browser.close()
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--chromium", help="Path of a Chromium; default: playwright's own.")
    parser.add_argument("--shots", type=Path, help="Folder for the screenshots.")
    arguments = parser.parse_args()
    print(json.dumps(look(arguments.page, arguments.chromium, arguments.shots), indent=1))


if __name__ == "__main__":
    main()
