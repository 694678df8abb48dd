"""Files of a run whose every name and text is markup: the web page must show it as text. For benchmarks/web_page.py."""

import json
from pathlib import Path

MARKUP = "<img src=x onerror=alert(1)>"
SCRIPT = "<script>parent.alert(1); top.location='http://127.0.0.1:9/'; fetch('/api/runs')</script>"


def write_hostile_run(root: Path) -> None:
    """A manifest, a running.json, a leaderboard and a dashboard that tries to leave its sandbox, in a folder named MARKUP."""
    folder = root / MARKUP
    folder.mkdir()
    nested = {MARKUP: MARKUP}
    manifest = {"command": MARKUP, "metrics": nested, "settings": nested, "artifacts": {MARKUP: {"sha256": MARKUP}}}
    (folder / "manifest_train.json").write_text(json.dumps(manifest), encoding="utf-8")
    (folder / "running.json").write_text(json.dumps({"command": MARKUP, "lines": [MARKUP]}), encoding="utf-8")
    (folder / "comparison.csv").write_text(f"answer,score\n{MARKUP},1\n", encoding="utf-8")
    (folder / "page.html").write_text(SCRIPT, encoding="utf-8")
