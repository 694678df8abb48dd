"""What the page is sent, typed: the OpenAPI document is made from these, and the front end's types from that."""

from pydantic import BaseModel

Number = float | None
Series = list[Number]
Value = str | float | bool | None


class Failure(BaseModel):
    error: str


class Run(BaseModel):
    """A manifest, or the record beside a submission that no manifest names. problem: why it cannot be read."""

    id: str
    command: str
    folder: str
    manifest: str
    started: str | None = None
    seconds: Number = None
    git: str | None = None
    dirty: bool | None = None
    seed: int | None = None
    config_hash: str | None = None
    score: Number = None
    planets: bool = False
    problem: str | None = None


class Runs(BaseModel):
    """total: after the filter. cut: there were more files than are looked at."""

    total: int
    runs: list[Run]
    commands: list[str]
    cut: bool


class Artifact(BaseModel):
    name: str
    bytes: Number
    sha256: str


class Epoch(BaseModel):
    epoch: int
    loss: Number
    score: Number


class RunDetail(BaseModel):
    """metrics, settings, versions, hardware and inputs with dotted names; artifacts: the first of n_artifacts."""

    run: Run
    metrics: dict[str, Value]
    settings: dict[str, Value]
    versions: dict[str, Value]
    hardware: dict[str, Value]
    inputs: dict[str, Value]
    artifacts: list[Artifact]
    n_artifacts: int
    history: list[Epoch]


class Difference(BaseModel):
    name: str
    a: Value
    b: Value


class Comparison(BaseModel):
    """metrics: all of both; the others: where the two differ."""

    a: Run
    b: Run
    metrics: list[Difference]
    settings: list[Difference]
    versions: list[Difference]
    inputs: list[Difference]


class Planet(BaseModel):
    """depth_ppm and sigma_ppm: mean and median over wavelengths; error_ppm: mean absolute error where truth is known."""

    planet: str
    depth_ppm: Number
    sigma_ppm: Number
    error_ppm: Number = None
    flags: list[str] = []
    violations: int | None = None
    answered: bool = True


class Planets(BaseModel):
    total: int
    planets: list[Planet]
    problems: list[str]


class Segment(BaseModel):
    """One instrument of one visit in white light, thinned out: time h, flux relative; fit: transit and drift, where kept."""

    name: str
    time: Series
    flux: Series
    fit: Series | None = None
    sigma: Number = None
    facts: dict[str, Value] = {}


class Band(BaseModel):
    """Attribution of one band's correction to each wavelength, ppm."""

    name: str
    shap: Series
    ig: Series
    correction: Number
    error: Number


class Edge(BaseModel):
    source: int
    target: int
    relation: str
    share: Number
    attention: Number


class Violation(BaseModel):
    rule: str
    bin: int | None
    wavelength: Number
    ppm: Number
    sigmas: Number


class PlanetDetail(BaseModel):
    """Everything on disk about one planet. Depths are (Rp/Rs)², series run over wavelengths; what is missing is null.

    others    other answers by name: memory, posterior, transit fit, each [depth, sigma]
    intervals COREL's, where corel-train judged this planet with these weights: name → [lower, upper]
    gates     expert → weight; relations: relation → its share of what reaches each wavelength, mean over layers
    edges     the strongest ones, mean over layers
    problems  what could not be read, and why
    """

    planet: str
    split: str
    wavelength: Series | None
    mean: Series
    sigma: Series
    truth: Series | None = None
    others: dict[str, list[Series]] = {}
    intervals: dict[str, list[Series]] = {}
    star: dict[str, str] = {}
    flags: list[str] = []
    note: str = ""
    fit: list[Segment] = []
    gates: dict[str, Series] = {}
    attributions: list[Band] = []
    relations: dict[str, Series] = {}
    edges: list[Edge] = []
    violated: list[str] | None = None
    violations: list[Violation] = []
    molecules: dict[str, Number] = {}
    missing: dict[str, str] = {}
    problems: list[str] = []


class LightCurves(BaseModel):
    segments: list[Segment]
    problems: list[str]


class Board(BaseModel):
    id: str
    name: str
    kind: str


class Table(BaseModel):
    name: str
    columns: list[str]
    rows: list[list[str]]


class Running(BaseModel):
    """A run that goes on, or was killed: silent_s says how long nothing was heard of it."""

    id: str
    folder: str
    command: str
    started: str | None = None
    silent_s: Number = None
    done: int | None = None
    total: int | None = None
    lines: list[str] = []
    history: list[Epoch] = []
    problem: str | None = None


class Page(BaseModel):
    """A dashboard or report, complete in itself; shown at /pages/{id} in a sandbox."""

    id: str
    name: str
    bytes: int
    modified: str
