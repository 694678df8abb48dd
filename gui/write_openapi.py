"""Write gui/openapi.json, from which the front end's types are made: python gui/write_openapi.py"""

import json
import tempfile
from pathlib import Path

from ariel_lib.server.app import make_routes

with tempfile.TemporaryDirectory() as empty:
    document = make_routes(empty).openapi()
Path(__file__).with_name("openapi.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
