"""Physics rules that a planet's spectrum violates, read from violations.jsonl, which evaluation/physics_check.py writes."""

import json
from dataclasses import dataclass
from pathlib import Path

from ariel_lib.server.reading import UnreadableFile, read_lines
from ariel_lib.server.schemas import PlanetDetail, Violation
from ariel_lib.server.values import as_json, as_number, as_text

LENGTH_LIMIT = 2**20  # bytes about one planet


@dataclass(frozen=True)
class Place:
    """Place of the lines about one planet in the file: offset and length in bytes, and their number. The last line is a summary."""

    offset: int
    length: int
    lines: int

    @property
    def violations(self) -> int:
        """Number of violations: lines without the summary."""
        return self.lines - 1


def index_violations(path: Path) -> dict[str, Place]:
    """planet → place of its lines. Raises UnreadableFile where they do not follow one another."""
    places: dict[str, Place] = {}
    for offset, line in read_lines(path):
        planet = str(json.loads(line)["planet"])
        place = places.get(planet, Place(offset, 0, 0))
        if place.offset + place.length != offset:
            raise UnreadableFile(f"{path.name}: expected the lines of planet {as_text(planet, 60)} one after another, found others between")
        places[planet] = Place(place.offset, place.length + len(line), place.lines + 1)
    return places


def add_violations(detail: PlanetDetail, path: Path, place: Place) -> None:
    """Fill violations, violated_rules and molecule_shares of detail. Raises UnreadableFile for lines above LENGTH_LIMIT."""
    if place.length > LENGTH_LIMIT:
        raise UnreadableFile(f"{path.name}: {place.length} bytes about this planet, the limit is {LENGTH_LIMIT}")
    with path.open("rb") as file:
        file.seek(place.offset)
        lines = file.read(place.length).splitlines()
    for line in (as_json(json.loads(line)) for line in lines):
        if "rule" in line:
            numbers = {name: as_number(line.get(name)) for name in ("wavelength", "ppm", "sigmas")}
            detail.violations.append(Violation(rule=as_text(line["rule"], 40), bin=int(line["bin"]), **numbers))
        else:
            detail.violated_rules = [as_text(name, 40) for name in line.get("violated") or ()]
            detail.molecule_shares = {as_text(name, 20): as_number(share) for name, share in (line.get("molecules") or {}).items()}
