"""Types of all answers. The OpenAPI document is made from them, and the front end's TypeScript types from that document."""

from pydantic import BaseModel

Number = float | None
Series = list[Number]
Value = str | float | bool | None


class Failure(BaseModel):
    error: str


class Run(BaseModel):
    """A command's run, from its manifest, or from the record beside a submission that has no manifest.

    git is the commit and dirty whether files differed from it; problem says why a manifest cannot be read.
    """

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
    has_submission: bool = False
    problem: str | None = None


class Runs(BaseModel):
    """total counts the runs that pass the filter; incomplete: the folder has more files than the server reads."""

    total: int
    runs: list[Run]
    commands: list[str]
    incomplete: bool


class Artifact(BaseModel):
    name: str
    bytes: Number
    sha256: str


class Epoch(BaseModel):
    """Loss after one epoch and score on the planets that choose the epoch; member counts the networks of an ensemble from 0."""

    member: int
    epoch: int
    loss: Number
    score: Number


class RunDetail(BaseModel):
    """A run's manifest: nested entries under dotted names, the first artifacts of n_artifacts, the epochs of a training."""

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
    """Two runs side by side: all metrics of both; of settings, versions and inputs those that differ."""

    a: Run
    b: Run
    metrics: list[Difference]
    settings: list[Difference]
    versions: list[Difference]
    inputs: list[Difference]


class Planet(BaseModel):
    """One row of a submission.

    depth_ppm   mean depth over wavelengths
    sigma_ppm   median standard deviation over wavelengths
    error_ppm   mean absolute error over wavelengths, where the true spectrum is known
    violations  wavelengths at which the spectrum violates a rule, summed over rules; null where it was not checked
    answered    False where the mean of the training spectra is given instead of a prediction
    """

    planet: str
    depth_ppm: Number
    sigma_ppm: Number
    error_ppm: Number = None
    flags: list[str] = []
    violations: int | None = None
    answered: bool = True


class Planets(BaseModel):
    """skipped: what `predict` left out for want of time or disk space, and why."""

    total: int
    planets: list[Planet]
    skipped: dict[str, str]
    problems: list[str]


class WhiteCurve(BaseModel):
    """Calibrated light of one instrument in one visit, summed over wavelengths and averaged over neighbouring samples.

    time h, flux relative to its median, electrons_per_sample that median, masked_fraction the share of unusable samples.
    """

    name: str
    time: Series
    flux: Series
    electrons_per_sample: Number
    masked_fraction: Number


class FittedCurve(BaseModel):
    """White light of one instrument in one visit as the transit fit used it.

    time h; flux and model (transit and drift) relative; sigma of one sample's flux; t0 and duration h
    chi2                   variance of the residuals over the expected one, without red noise
    red_noise              the same ratio for the part that is correlated in time
    red_noise_probability  that there is such a part
    """

    name: str
    time: Series
    flux: Series
    model: Series
    sigma: Number
    t0: Number
    duration: Number
    chi2: Number
    red_noise: Number
    red_noise_probability: Number


class BandAttribution(BaseModel):
    """How much each wavelength's data moved the network's mean correction in one band, ppm.

    shap is GradientShap, ig integrated gradients, ig_error how far the latter's sum is from the correction.
    """

    name: str
    shap: Series
    ig: Series
    correction: Number
    ig_error: Number


class Edge(BaseModel):
    """An edge of the wavelength graph, from wavelength index source to target, with its share of what reaches the target."""

    source: int
    target: int
    relation: str
    share: Number
    attention: Number


class Violation(BaseModel):
    """A rule violated at one wavelength: bin counts from 1, as wl_1; deviation in ppm and in standard deviations."""

    rule: str
    bin: int
    wavelength: Number
    ppm: Number
    sigmas: Number


class PlanetDetail(BaseModel):
    """Everything that the files say about one planet. Depths are (Rp/Rs)²; a series has one value for each wavelength.

    wavelength        µm
    mean, sigma       V50's spectrum and its standard deviations; truth: the true spectrum, where it is known
    other_answers     initial estimate, Gaussian posterior and transit fit, each [depth, sigma]
    intervals         COREL's, where corel-train had this planet among its held-out ones: name → [lower, upper]
    flags, note       of the transit fit and of the prediction
    gates             the decoder's weight of each expert
    relation_shares   share of what reaches a wavelength by each relation of the wavelength graph, mean over layers
    edges             the strongest edges of that graph, mean over layers
    violated_rules    null where the submission was not checked
    molecule_shares   share of the AIRS spectrum's variance that only this molecule explains, and the "rest" that none does
    missing           part of the page → why it has nothing to show
    problems          files that could not be read, and why
    """

    planet: str
    split: str
    wavelength: Series | None
    mean: Series
    sigma: Series
    truth: Series | None = None
    other_answers: dict[str, list[Series]] = {}
    intervals: dict[str, list[Series]] = {}
    star: dict[str, str] = {}
    flags: list[str] = []
    note: str = ""
    fitted_curves: list[FittedCurve] = []
    gates: dict[str, Series] = {}
    attributions: list[BandAttribution] = []
    relation_shares: dict[str, Series] = {}
    edges: list[Edge] = []
    violated_rules: list[str] | None = None
    violations: list[Violation] = []
    molecule_shares: dict[str, Number] = {}
    missing: dict[str, str] = {}
    problems: list[str] = []


class LightCurves(BaseModel):
    curves: list[WhiteCurve]
    problems: list[str]


class Leaderboard(BaseModel):
    """A table that `ablate` (kind "ablation") or `compare` (kind "comparison") wrote."""

    id: str
    name: str
    kind: str


class Table(BaseModel):
    name: str
    columns: list[str]
    rows: list[list[str]]


class Running(BaseModel):
    """A command that has not ended, or that was killed: then seconds_since_update keeps growing.

    done of total steps; log: its last lines; history: the epochs so far, of a training.
    """

    id: str
    folder: str
    command: str
    started: str | None = None
    seconds_since_update: Number = None
    done: int | None = None
    total: int | None = None
    log: list[str] = []
    history: list[Epoch] = []
    problem: str | None = None


class Page(BaseModel):
    """A dashboard or report, one HTML file; /pages/{id} shows it in a sandbox."""

    id: str
    name: str
    bytes: int
    modified: str
