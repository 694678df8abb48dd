"""The web page in use: in headless Chromium, and by many readers at once; prints JSON.

    python benchmarks/web_page.py browser --root outputs --data DATA --chromium /usr/bin/chromium --shots build/web
    python benchmarks/web_page.py load --root outputs --data DATA --readers 50 --seconds 60

`browser` needs playwright (extra [browser]). Both start `spectramind serve` themselves, on a free port.
"""

import argparse
import json
import random
import statistics
import tempfile
from pathlib import Path
from urllib.parse import quote

from hostile_files import MARKUP, write_hostile_run
from web_readers import get, load, serving, submission_of

QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync")
ROUNDS = 20
DRAWN = "() => document.querySelector('figure.chart path.line')"
# Milliseconds from the click until the spectrum, and until the light curves, are painted: the second frame after they are in the page.
OPEN = """name => {
  const link = [...document.querySelectorAll('tbody a')].find(a => a.textContent === name), start = performance.now();
  const here = () => document.querySelector('h1').textContent.includes(name);
  const painted = there => new Promise(done => {
    const look = () => here() && there()
      ? requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start))) : requestAnimationFrame(look);
    look();
  });
  link.click();
  const curves = () => [...document.querySelectorAll('figcaption')].some(c => c.textContent.includes(': calibrated'))
    || [...document.querySelectorAll('main p.quiet')].some(p => p.textContent.startsWith('no light curves'));
  return Promise.all([painted(() => document.querySelector('figure.chart path.line')), painted(curves)]);
}"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


class Watch:
    """Records what a page must not do: console errors, dialogs, requests to other hosts."""

    def __init__(self, page, base):
        self.seen = {"console": [], "dialogs": [], "elsewhere": []}
        page.on("console", lambda m: self.seen["console"].append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.seen["console"].append(str(error)))
        page.on("dialog", lambda d: (self.seen["dialogs"].append(d.message), d.dismiss()))
        inside = (base, "data:", "blob:", "about:")
        page.on("request", lambda r: None if r.url.startswith(inside) else self.seen["elsewhere"].append(r.url[:100]))


def median(times):
    return {"median_ms": round(statistics.median(times), 1), "worst_ms": round(max(times), 1), "rounds": len(times)}


def browse(arguments) -> dict:
    from playwright.sync_api import sync_playwright

    with serving(arguments.root, arguments.data) as (base, _), sync_playwright() as playwright:
        run, planets, total = submission_of(base)
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=list(QUIET))
        paints = []
        for _ in range(ROUNDS):
            context = browser.new_context()
            page = context.new_page()
            page.goto(f"{base}/", wait_until="load")
            page.wait_for_selector("tbody a")
            paints.append(page.evaluate(PAINT))
            context.close()
        context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
        page = context.new_page()
        watch = Watch(page, base)
        opened = []
        for planet in random.Random(1).sample(planets, min(ROUNDS, len(planets))):
            page.goto("about:blank")
            page.goto(f"{base}/#/planets?run={run}&q={quote(planet)}")
            page.wait_for_function("name => [...document.querySelectorAll('tbody a')].some(a => a.textContent === name)", arg=planet)
            opened.append(page.evaluate(OPEN, planet))
        result = {
            "planets": total, "first_paint": median(paints), "planet_page": median([spectrum for spectrum, _ in opened]),
            "planet_page_with_light_curves": median([whole for _, whole in opened]),
            "steps": [step(page, base, run, planets) for step in (use_mouse, use_keyboard, use_dark, use_dashboard)],
        }  # fmt: skip
        if arguments.shots:
            arguments.shots.mkdir(parents=True, exist_ok=True)
            shoot(page, base, run, planets[0], arguments.shots)
        result["seen"] = watch.seen
        result["hostile"] = look_at_hostile(browser)
        browser.close()
    return result


def use_mouse(page, base, run, planets) -> str:
    """List, filter, sort, open a planet, go back, compare two runs."""
    page.goto(f"{base}/#/runs")
    page.wait_for_selector("tbody input[type=checkbox]")
    page.fill("input[type=search]", "v50")
    page.wait_for_function("() => [...document.querySelectorAll('tbody tr')].every(row => /v50/i.test(row.textContent))")
    page.fill("input[type=search]", "")
    page.wait_for_function("() => document.querySelectorAll('tbody input[type=checkbox]').length > 1")
    for n in (0, 1):
        page.locator("tbody input[type=checkbox]").nth(n).check()
    page.click("text=Compare the selected runs")
    page.wait_for_selector("h2:has-text('Settings that differ')")
    page.goto(f"{base}/#/planets?run={run}")
    page.click("th button:has-text('Error')")
    page.wait_for_selector("th[aria-sort=descending]:has-text('Error')")
    page.fill("input[type=search]", planets[3])
    page.wait_for_function("() => document.querySelectorAll('tbody tr').length === 1")
    page.click(f"tbody a:has-text('{planets[3]}')")
    page.wait_for_function(DRAWN)
    page.go_back()
    page.wait_for_function("() => document.querySelectorAll('tbody tr').length === 1")
    return "list, filter, sort, open a planet, back, compare: done with the mouse"


def use_keyboard(page, base, run, planets) -> str:
    """From the list of runs to a value of a spectrum, by keyboard alone."""
    page.goto("about:blank")
    page.goto(f"{base}/#/runs")
    page.wait_for_selector("tbody a")
    pressed = 0

    def tab_to(selector):
        nonlocal pressed
        for _ in range(400):
            page.keyboard.press("Tab")
            pressed += 1
            if page.evaluate("s => document.activeElement?.matches(s)", selector):
                return
        raise AssertionError(f"the Tab key does not reach {selector}")

    href = page.evaluate("run => [...document.querySelectorAll('tbody a')].find(a => a.href.includes(run)).getAttribute('href')", run)
    tab_to(f"a[href='{href}']")
    page.keyboard.press("Enter")
    page.wait_for_selector("a.action")
    tab_to("a.action")
    page.keyboard.press("Enter")
    page.wait_for_selector("input[type=search]")
    tab_to("input[type=search]")
    page.keyboard.type(planets[5])
    page.wait_for_function("() => document.querySelectorAll('tbody tr').length === 1")
    tab_to("tbody a")
    page.keyboard.press("Enter")
    page.wait_for_function(DRAWN)
    tab_to("svg[role=application]")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    readout = page.text_content("p.readout")
    assert "V50" in readout, readout
    return f"runs to a planet's spectrum by {pressed} presses of Tab; it reads out: {readout}"


def use_dark(page, base, run, planets) -> str:
    """Light and dark by the system's setting and by the page's own."""

    def ground():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = ground()
    page.emulate_media(color_scheme="dark")
    dark = ground()
    page.select_option("label.theme select", "light")
    chosen = ground()
    page.select_option("label.theme select", "auto")
    page.emulate_media(color_scheme="light")
    assert light == chosen != dark, (light, dark, chosen)
    return f"light {light}, dark {dark}"


def use_dashboard(page, base, run, planets) -> str:
    """A dashboard has an opaque origin: it cannot reach the page around it."""
    page.goto(f"{base}/#/dashboards")
    page.wait_for_selector("h1:has-text('Dashboards')")
    page.wait_for_timeout(300)
    if not page.locator("main li a").count():
        return "no dashboard in this folder"
    page.locator("main li a").first.click()
    page.wait_for_selector("iframe")
    frame = next(frame for frame in page.frames if frame != page.main_frame)
    frame.wait_for_load_state()
    origin = frame.evaluate("window.origin")
    assert origin == "null", origin
    return f"{frame.title()!r} shown in a sandbox, origin {origin}"


def shoot(page, base, run, planet, shots: Path) -> None:
    places = {"runs": "runs", "planets": f"planets?run={run}", "planet": f"planet?run={run}&planet={quote(planet)}", "api": "api"}
    for scheme, width in (("light", 1280), ("dark", 1280), ("light", 400)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        for name, place in places.items():
            page.goto("about:blank")
            page.goto(f"{base}/#/{place}")
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(200)
            wider = page.evaluate("document.documentElement.scrollWidth > innerWidth")
            assert not wider, f"{name} is wider than a window of {width}"
            page.screenshot(path=str(shots / f"{name}_{scheme}_{width}.png"), full_page=name == "planet")


def look_at_hostile(browser) -> dict:
    """Names that are markup are shown as text."""
    with tempfile.TemporaryDirectory() as folder:
        write_hostile_run(Path(folder))
        with serving(folder, ()) as (base, _):
            page = browser.new_page()
            watch = Watch(page, base)
            run = get(base, "/api/runs")["runs"][0]["id"]
            board, board_page = get(base, "/api/leaderboards")[0]["id"], get(base, "/api/pages")[0]["id"]
            shown = 0
            for at in ("runs", f"run?run={run}", f"compare?a={run}&b={run}", "running", "boards", f"board?board={board}", "dashboards"):
                page.goto(f"{base}/#/{at}")
                page.wait_for_function("name => document.querySelector('main').textContent.includes(name)", arg=MARKUP)
                shown += 1
            quiet = list(watch.seen["console"])
            page.goto(f"{base}/#/dashboards?show={board_page}")
            page.wait_for_selector("iframe")
            page.wait_for_timeout(500)
            images = page.locator("main img").count()
            stayed = page.url.startswith(base)
            found = {"pages_shown_as_text": shown, "images": images, "console_before_the_hostile_dashboard": quiet, "page_left": not stayed}
            found |= {"dialogs": watch.seen["dialogs"], "elsewhere": watch.seen["elsewhere"]}
            page.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("browser", "load"))
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--data", type=Path, action="append", default=[])
    parser.add_argument("--chromium", help="Path of a Chromium; default: playwright's own.")
    parser.add_argument("--shots", type=Path, help="Folder for screenshots.")
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    print(json.dumps((browse if arguments.what == "browser" else load)(arguments), indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
