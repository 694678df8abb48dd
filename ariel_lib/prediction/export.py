"""A submission as astropy tables: ECSV, FITS or CSV with units, metadata and the covariance where it is known.

V50's own answer is a mean and a sigma a wavelength: no covariance of it is kept anywhere. Known is the covariance of the
transit fit, of `fit_depth`, from the fit kept beside the submission and what the weights know of all planets alike. Knows no network.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path
from urllib.parse import quote

import numpy as np

from ariel_lib import __version__
from ariel_lib.errors import ArchiveError, SpectraMindError
from ariel_lib.io.archive import Archive
from ariel_lib.io.checksums import sha256
from ariel_lib.io.layout import is_plain_name
from ariel_lib.io.storage import StorageError, load_arrays, part, write_atomically
from ariel_lib.io.submission import read_submission
from ariel_lib.transit.population.corrections import PopulationCorrections
from ariel_lib.transit.result import load_estimate

FORMATS = ("ecsv", "fits", "csv")
COLUMNS = {  # name: (array beside the submission, None for the submission's own; what it is)
    "transit_depth": (None, "V50's (Rp/Rs)^2"),
    "sigma": (None, "its standard deviation"),
    "initial_depth": ("initial_mean", "what the memory of spectra answers, V50's start"),
    "initial_sigma": ("initial_sigma", "its standard deviation"),
    "gaussian_depth": ("gaussian_mean", "closed-form posterior of the transit fit under the spectral prior"),
    "gaussian_sigma": ("gaussian_sigma", "its standard deviation"),
    "fit_depth": ("depth", "transit fit alone, drifts and orbit conditioned on the population's"),
    "fit_sigma": ("depth_sigma", "its standard deviation, the root of the diagonal of fit_covariance"),
}
COVARIANCE = "fit_covariance"
FITS_BLOCK = 2880  # bytes
FITS_LETTERS = " !#$&()*+-.:;<=>?@[]^_`{|}~"  # and letters and digits; a value with '/ in it does not come back from astropy
UNKNOWN = "of transit_depth: not known, predict keeps none. "


@dataclass(frozen=True)
class Spectrum:
    """One planet. columns: name → (wavelength,), NaN where the planet has no such answer; covariance of fit_depth, or None."""

    planet_id: str
    columns: dict[str, np.ndarray]
    covariance: np.ndarray | None


def export(
    *,
    submission: Path | str,
    out: Path | str,
    format: str,
    data: Path | str | None = None,
    weights: Path | str | None = None,
    split: str = "test",
    planets: Sequence[str] | None = None,
    covariance: bool = True,
) -> dict:
    """Write the spectra of a submission to out; returns path, planets and how many have a covariance, JSON-able.

    data        where wavelengths.csv lies; default: the folder that the record beside the submission names
    weights     of the run, for the covariance; default: as manifest_predict.json names them, else model/weights.safetensors
    planets     which; default: all
    covariance  write fit_covariance, 0.6 MB a planet in FITS and up to 3 MB as text
    Raises SpectraMindError for input that does not belong together, or without the extra [export].
    """
    try:
        import astropy  # noqa: F401
    except ImportError as error:
        raise SpectraMindError("export needs astropy: pip install 'spectramind[export]' adds it") from error
    submission, out = Path(submission), Path(out)
    if out.resolve() in (submission.resolve(), *(submission.with_suffix(end).resolve() for end in (".json", ".safetensors"))):
        raise SpectraMindError(f"{out}: expected another file than the submission and what lies beside it")
    ids, mean, sigma = read_submission(submission)
    if unknown := set(planets or ()) - set(ids):
        raise SpectraMindError(f"{submission}: no planet {sorted(unknown)[0]!r}; it has {len(ids)}, such as {ids[0]!r}")
    record = _json(submission.with_suffix(".json"))
    wavelength = _wavelengths(submission, data, record, mean.shape[1])
    kept = _kept(submission)
    corrections, why = _corrections(submission, weights, record) if covariance else (None, "left out on demand.")
    chosen = [n for n, planet in enumerate(ids) if planets is None or planet in set(planets)]
    folder = submission.parent / "estimates" / split
    spectra = (_spectrum(ids[n], (mean[n], sigma[n]), kept, corrections, folder) for n in chosen)
    meta = {
        "creator": f"spectramind {__version__}", "submission": submission.name, "submission_sha256": sha256(submission),
        "weights_sha256": record.get("source", {}).get("weights"), "git": _json(submission.parent / "manifest_predict.json").get("git"),
        "units": "wavelength in micron; depths, sigmas and covariances are dimensionless, (Rp/Rs)^2",
        "columns": {name: said for name, (_, said) in COLUMNS.items()},
        "covariance": UNKNOWN + (f"{COVARIANCE}: of fit_depth, in the planets that have it" if corrections else f"{COVARIANCE}: {why}"),
    }  # fmt: skip
    write = _write_fits if format == "fits" else _write_text
    with_covariance = write(out, wavelength, spectra, meta, format)
    return {"out": str(out), "planets": len(chosen), "with_covariance": with_covariance, "covariance": meta["covariance"]}


def _json(path: Path) -> dict:
    return json.loads(path.read_bytes()) if path.is_file() else {}


def _wavelengths(submission: Path, data, record: dict, expected: int) -> np.ndarray:
    folder = data or record.get("source", {}).get("data")
    if folder is None:
        raise ArchiveError(submission.with_suffix(".json"), "a record that names the data", "none", "Give --data FOLDER.")
    wavelength = Archive(folder).wavelengths()
    if len(wavelength) != expected:
        raise ArchiveError(Path(folder) / "wavelengths.csv", f"{expected} wavelengths as in {submission}", f"{len(wavelength)}")
    return wavelength


def _kept(submission: Path) -> dict[str, dict[str, np.ndarray]]:
    """planet → the arrays that predict keeps beside a submission; empty where the file is not there."""
    path = submission.with_suffix(".safetensors")
    if not path.is_file():
        return {}
    arrays, text = load_arrays(path)
    return {planet: {name: rows[n] for name, rows in arrays.items()} for n, planet in enumerate(json.loads(text["planet_ids"]))}


def _corrections(submission: Path, weights, record: dict) -> tuple[PopulationCorrections | None, str]:
    """What the weights that made the submission know of all planets alike, or None and why they do not say."""
    named = _json(submission.parent / "manifest_predict.json").get("inputs", {}).get("weights", {}).get("path")
    path = Path(weights) if weights else submission.parent / (named or Path("model") / "weights.safetensors")
    if not path.is_file():
        return None, "the weights were not found; --weights names them."
    if record.get("source", {}).get("weights") != sha256(path):
        if weights:
            raise SpectraMindError(f"{path}: expected the weights that made {submission}, found others")
        return None, "the weights beside the submission are not those that made it."
    return PopulationCorrections.from_arrays(part(load_arrays(path)[0], "corrections")), ""


def _spectrum(planet: str, answer: tuple[np.ndarray, np.ndarray], kept: dict, corrections: PopulationCorrections | None, folder: Path) -> Spectrum:
    own, nothing = kept.get(planet, {}), np.full(len(answer[0]), np.nan)
    columns = {name: own.get(source, nothing) for name, (source, _) in COLUMNS.items()}
    columns |= {"transit_depth": answer[0], "sigma": answer[1]}
    covariance = None
    if corrections and is_plain_name(planet):
        try:
            estimate = corrections.condition(load_estimate(folder / f"{planet}.safetensors"))
        except StorageError:
            estimate = None
        # A fit made anew since the prediction is not the one that these columns come from.
        if estimate is not None and np.array_equal(estimate.depth, columns["fit_depth"]):
            covariance = estimate.covariance
    return Spectrum(planet, columns, covariance)


def _table(wavelength: np.ndarray, spectrum: Spectrum):
    from astropy import units
    from astropy.table import Table

    table = Table({"wavelength": wavelength * units.um})
    for name, values in spectrum.columns.items():
        table[name] = values
        table[name].description = COLUMNS[name][1]
    return table


def _write_text(out: Path, wavelength: np.ndarray, spectra: Iterator[Spectrum], meta: dict, format: str) -> int:
    """One row a planet and wavelength. CSV has no place for metadata: they go to {out}.json."""
    from astropy.table import vstack

    tables, known = [], []
    for spectrum in spectra:
        table = _table(wavelength, spectrum)
        table.add_column([spectrum.planet_id] * len(wavelength), name="planet_id", index=0)
        table.add_column(np.arange(1, len(wavelength) + 1), name="bin", index=1)
        tables.append(table)
        known.append(spectrum.covariance)
    table, size = vstack(tables), len(wavelength)
    if found := sum(matrix is not None for matrix in known):
        rows = np.concatenate([np.full((size, size), np.nan) if matrix is None else matrix for matrix in known])
        if format == "ecsv":
            table[COVARIANCE] = rows
        else:
            for n in range(size):
                table[f"{COVARIANCE}_{n + 1}"] = rows[:, n]
    text = StringIO()
    if format == "ecsv":
        table.meta = {name: value for name, value in meta.items() if name != "columns"}
        table.write(text, format="ascii.ecsv")
    else:
        table.write(text, format="ascii.csv")
        write_atomically(out.with_name(out.name + ".json"), json.dumps(meta, indent=1).encode())
    write_atomically(out, text.getvalue().encode())
    return found


def _write_fits(out: Path, wavelength: np.ndarray, spectra: Iterator[Spectrum], meta: dict, format: str) -> int:
    """An extension SPECTRUM a planet, with its id as PLANET (percent-encoded where FITS has no such letter), and one
    COVARIANCE of the same EXTVER where it is known. Written planet by planet: 1100 covariances need 0.7 GB."""
    from astropy.io import fits

    first = fits.PrimaryHDU()
    first.header["CREATOR"] = meta["creator"]
    first.header["SUBSHA"] = meta["submission_sha256"]
    first.header["WGTSHA"] = meta["weights_sha256"]
    first.header["GITSHA"] = (meta["git"] or {}).get("sha")
    for name in ("units", "covariance"):
        first.header.add_comment(f"{name}: {meta[name]}")
    found = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            first.writeto(file)
            for version, spectrum in enumerate(spectra, 1):
                for hdu in _hdus(wavelength, spectrum):
                    hdu.ver = version
                    hdu.header["PLANET"] = quote(spectrum.planet_id, safe=FITS_LETTERS)
                    file.write(_bytes(hdu))
                found += spectrum.covariance is not None
        os.chmod(temporary, 0o644)
        os.replace(temporary, out)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return found


def _hdus(wavelength: np.ndarray, spectrum: Spectrum) -> list:
    from astropy.io import fits

    table = fits.table_to_hdu(_table(wavelength, spectrum))
    table.name = "SPECTRUM"
    if spectrum.covariance is None:
        return [table]
    matrix = fits.ImageHDU(spectrum.covariance, name="COVARIANCE")
    matrix.header.add_comment("of fit_depth, rows and columns in the order of SPECTRUM")
    return [table, matrix]


def _bytes(hdu) -> bytes:
    """The extension alone: a FITS file is its HDUs one after the other, and astropy writes an empty first one."""
    buffer = BytesIO()
    hdu.writeto(buffer)
    return buffer.getvalue()[FITS_BLOCK:]
