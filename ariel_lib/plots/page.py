"""Self-contained HTML report with notes, metrics, figures and tables, in light and dark colours.

Text is escaped; the page loads nothing and forbids scripts.
"""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from ariel_lib.io.storage import write_atomically
from ariel_lib.plots.figures import render_png

GOALS = {
    "score": "higher, at most 1",
    "nll": "lower",
    "mae": "lower",
    "rmse_ppm": "lower",
    "coverage_80": "0.80",
    "coverage_90": "0.90",
    "z_rms": "1",
    "z_rms_fgs1": "1",
    "z_rms_airs": "1",
}

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #ffffff; --line: #cccccc; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #16181c; --line: #444a52; } }
body { color: var(--ink); background: var(--paper); font: 16px/1.5 system-ui, sans-serif;
       max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .75rem; text-align: left; }
.wide { overflow-x: auto; }
img { max-width: 100%; height: auto; background: #ffffff; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% for note in notes %}<p>{{ note }}</p>
{% endfor %}{% if metrics %}<h2>Metrics</h2>
<table><thead><tr><th scope="col">metric</th><th scope="col">value</th><th scope="col">goal</th></tr></thead><tbody>
{% for name, value in metrics %}<tr><th scope="row">{{ name }}</th><td>{{ value }}</td>
<td>{{ goals.get(name, "") }}</td></tr>
{% endfor %}</tbody></table>
{% endif %}{% for caption, png in figures %}<h2>{{ caption }}</h2>
<p><img alt="{{ caption }}" src="data:image/png;base64,{{ png }}"></p>
{% endfor %}{% for caption, header, rows in tables %}<h2>{{ caption }}</h2>
<div class="wide"><table>
<thead><tr>{% for cell in header %}<th scope="col">{{ cell }}</th>{% endfor %}</tr></thead><tbody>
{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
{% endfor %}</body>
</html>
"""


def write_report(
    path: Path | str,
    *,
    title: str,
    metrics: Mapping[str, object],
    figures: Mapping[str, Figure],
    tables: Mapping[str, pd.DataFrame],
    notes: Sequence[str] = (),
) -> Path:
    """Write the page to path and each figure as a PNG beside it; keys of figures and tables are captions. Returns the path."""
    path = Path(path)
    pngs = {caption: render_png(figure) for caption, figure in figures.items()}
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(PAGE)
    html = page.render(
        title=title,
        notes=notes,
        goals=GOALS,
        metrics=[(name, _format(value)) for name, value in metrics.items()],
        figures=[(caption, b64encode(png).decode()) for caption, png in pngs.items()],
        tables=[
            (caption, list(table.columns), [[_format(cell) for cell in row] for row in table.itertuples(index=False)])
            for caption, table in tables.items()
        ],
    )
    for number, (caption, png) in enumerate(pngs.items(), start=1):
        slug = re.sub(r"[^a-z0-9]+", "_", caption.lower()).strip("_")[:60]
        write_atomically(path.with_name(f"{path.stem}_{number:02d}_{slug}.png"), png)
    return write_atomically(path, html)


def _format(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)
