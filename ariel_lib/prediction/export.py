"""Export of a submission to ECSV, FITS or CSV, with units, metadata and, for the transit fit, the covariance.

V50 predicts a mean and a sigma at each wavelength, no covariance. The covariance of `fit_depth` comes from the transit fit
stored beside the submission and the population corrections in the weights.
"""

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path
from urllib.parse import quote

import numpy as np

from ariel_lib import __version__
from ariel_lib.errors import ArchiveError, SpectraMindError
from ariel_lib.io.checksums import sha256
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import is_plain_name
from ariel_lib.io.storage import StorageError, atomic_path, load_arrays, part, require_uncompressed, write_atomically
from ariel_lib.io.submission import read_submission
from ariel_lib.io.submission_record import SubmissionRecord
from ariel_lib.transit.population.corrections import PopulationCorrections
from ariel_lib.transit.result import load_estimate

FORMATS = ("ecsv", "fits", "csv")
COLUMNS = {  # name: (array in submission.safetensors, None for the submission itself; description)
    "transit_depth": (None, "V50's (Rp/Rs)^2"),
    "sigma": (None, "its standard deviation"),
    "initial_depth": ("initial_mean", "V50's initial estimate"),
    "initial_sigma": ("initial_sigma", "its standard deviation"),
    "gaussian_depth": ("gaussian_mean", "posterior of the transit fit under the Gaussian spectral prior"),
    "gaussian_sigma": ("gaussian_sigma", "its standard deviation"),
    "fit_depth": ("depth", "transit fit alone, conditioned on the population corrections"),
    "fit_sigma": ("depth_sigma", "its standard deviation, the root of the diagonal of fit_covariance"),
}
COVARIANCE = "fit_covariance"
FITS_BLOCK = 2880  # bytes
FITS_LETTERS = " !#$&()*+-.:;<=>?@[]^_`{|}~"  # and letters and digits; astropy does not restore a value that contains '/
UNKNOWN = "of transit_depth: not known, V50 predicts none. "


@dataclass(frozen=True)
class ExportedSpectrum:
    """One planet. columns: name → (wavelength,), NaN where missing; covariance: (wavelength, wavelength) of fit_depth, or None."""

    planet_id: str
    columns: dict[str, np.ndarray]
    covariance: np.ndarray | None


def export(submission: SubmissionRecord, dataset: Dataset, out: Path | str, format: str, *, covariance: bool = True) -> dict:
    """Write the spectra of a submission to `out`; returns path, number of planets and of covariances, remarks and damage, JSON-able.

    remarks  planet → why its row is the training mean, or what its answer does without; written to the metadata too
    damage   planet → why its stored fit cannot be read: it is exported without a covariance

    submission  its weights provide the population corrections of the covariance
    dataset     from submission.dataset(): wavelengths and stored fits; planets selected in it, else all, are written
    format      one of FORMATS
    covariance  write fit_covariance: 0.6 MB a planet in FITS, up to 3 MB as text

    Raises SpectraMindError for inputs that do not belong together, or without the extra [export].
    """
    if importlib.util.find_spec("astropy") is None:
        raise SpectraMindError("export needs astropy: pip install 'spectramind[export]' adds it")
    path, out = submission.path, Path(out)
    require_uncompressed(out)
    if out.resolve() in (path.resolve(), *(path.with_suffix(end).resolve() for end in (".json", ".safetensors"))):
        raise SpectraMindError(f"{out}: expected another file than the submission and its companions (.json, .safetensors)")
    ids, mean, sigma = read_submission(path)
    chosen = set(ids if dataset.selected is None else dataset.selected)
    if unknown := chosen - set(ids):
        raise SpectraMindError(f"{path}: no planet {sorted(unknown)[0]!r}; it has {len(ids)}, such as {ids[0]!r}")
    wavelength = dataset.wavelengths
    if len(wavelength) != mean.shape[1]:
        raise ArchiveError(dataset.root / "wavelengths.csv", f"{mean.shape[1]} wavelengths as in {path}", f"{len(wavelength)}")
    answers = submission.answers()
    corrections, why = _corrections(submission) if covariance else (None, "left out on request.")
    damage: dict[str, str] = {}
    spectra = (
        _spectrum(planet, (mean[n], sigma[n]), answers.get(planet, {}), corrections, dataset, damage)
        for n, planet in enumerate(ids)
        if planet in chosen
    )
    meta = {
        "creator": f"spectramind {__version__}", "submission": path.name, "submission_sha256": sha256(path),
        "weights_sha256": submission.source.get("weights"), "git": submission.manifest.get("git"),
        "units": "wavelength in micron; depths, sigmas and covariances are dimensionless, (Rp/Rs)^2",
        "columns": _descriptions(submission.initial_estimate),
        "remarks": {planet: text for planet, text in submission.remarks.items() if planet in chosen},
        "covariance": UNKNOWN + (f"{COVARIANCE}: of fit_depth, in the planets that have it" if corrections else f"{COVARIANCE}: {why}"),
    }  # fmt: skip
    write = _write_fits if format == "fits" else _write_text
    with_covariance = write(out, wavelength, spectra, meta, format)
    counts = {"planets": len(chosen), "with_covariance": with_covariance}
    return {"out": str(out), **counts, "covariance": meta["covariance"], "remarks": meta["remarks"], "damage": damage}


def _descriptions(initial_estimate: str | None) -> dict[str, str]:
    """Description of each column; the initial estimate's says which it is, where that is recorded."""
    found = {name: description for name, (_, description) in COLUMNS.items()}
    return found | ({"initial_depth": f"{found['initial_depth']}, {initial_estimate}"} if initial_estimate else {})


def _corrections(submission: SubmissionRecord) -> tuple[PopulationCorrections | None, str]:
    """The population corrections of the submission, or None and the reason."""
    path = submission.weights_path
    if not path.is_file():
        return None, "the weights were not found; give them with --weights."
    if submission.source.get("weights") != sha256(path):
        if submission.weights:
            raise SpectraMindError(f"{path}: expected the weights of {submission.path}, found others")
        return None, "the weights beside the submission are not those it was made with."
    return PopulationCorrections.from_arrays(part(load_arrays(path)[0], "corrections") | submission.population()), ""


def _spectrum(
    planet: str, answer: tuple[np.ndarray, np.ndarray], others: dict, corrections: PopulationCorrections | None, dataset: Dataset,
    damage: dict[str, str],
) -> ExportedSpectrum:
    """One planet of the export; others: its arrays in submission.safetensors; a fit that cannot be read is added to `damage`."""
    nothing = np.full(len(answer[0]), np.nan)
    columns = {name: others.get(source, nothing) for name, (source, _) in COLUMNS.items()}
    columns |= {"transit_depth": answer[0], "sigma": answer[1]}
    covariance = None
    if corrections and is_plain_name(planet) and dataset.fit_path(planet).is_file():
        try:
            estimate = load_estimate(dataset.fit_path(planet))
        except StorageError as error:
            estimate, damage[planet] = None, f"no covariance: {error}"
        # Only the fit that the prediction used has this depth; a later one would give the covariance of other columns.
        if estimate is not None and len(estimate.depth) == len(nothing):
            estimate = corrections.condition(estimate)
            covariance = estimate.covariance if np.array_equal(estimate.depth, columns["fit_depth"]) else None
    return ExportedSpectrum(planet, columns, covariance)


def _table(wavelength: np.ndarray, spectrum: ExportedSpectrum, descriptions: dict[str, str]):
    from astropy import units
    from astropy.table import Table

    table = Table({"wavelength": wavelength * units.um})
    for name, values in spectrum.columns.items():
        table[name] = values
        table[name].description = descriptions[name]
    return table


def _write_text(out: Path, wavelength: np.ndarray, spectra: Iterator[ExportedSpectrum], meta: dict, format: str) -> int:
    """One row a planet and wavelength. CSV cannot hold metadata: they go to {out}.json."""
    from astropy.table import vstack

    tables, known = [], []
    for spectrum in spectra:
        table = _table(wavelength, spectrum, meta["columns"])
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
        write_atomically(out.with_name(out.name + ".json"), json.dumps(meta, indent=1))
    write_atomically(out, text.getvalue())
    return found


def _write_fits(out: Path, wavelength: np.ndarray, spectra: Iterator[ExportedSpectrum], meta: dict, format: str) -> int:
    """A table extension SPECTRUM for each planet, its id percent-encoded in the keyword PLANET, and where the covariance is
    known an image extension COVARIANCE with the same EXTVER. Written planet by planet: 1100 covariances take 0.7 GB."""
    from astropy.io import fits

    first = fits.PrimaryHDU()
    first.header["CREATOR"] = meta["creator"]
    first.header["SUBSHA"] = meta["submission_sha256"]
    first.header["WGTSHA"] = meta["weights_sha256"]
    first.header["GITSHA"] = (meta["git"] or {}).get("sha")
    for name in ("units", "covariance"):
        first.header.add_comment(f"{name}: {meta[name]}")
    found = 0
    with atomic_path(out) as temporary, temporary.open("wb") as file:
        first.writeto(file)
        for version, spectrum in enumerate(spectra, 1):
            for hdu in _hdus(wavelength, spectrum, meta["columns"], meta["remarks"].get(spectrum.planet_id, "")):
                hdu.ver = version
                hdu.header["PLANET"] = quote(spectrum.planet_id, safe=FITS_LETTERS)
                file.write(_bytes(hdu))
            found += spectrum.covariance is not None
    return found


def _hdus(wavelength: np.ndarray, spectrum: ExportedSpectrum, descriptions: dict[str, str], remark: str) -> list:
    """The extensions of one planet; remark: what is said of its answer, or empty."""
    from astropy.io import fits

    table = fits.table_to_hdu(_table(wavelength, spectrum, descriptions))
    table.name = "SPECTRUM"
    if remark:
        table.header.add_comment(_ascii(remark))
    if spectrum.covariance is None:
        return [table]
    matrix = fits.ImageHDU(spectrum.covariance, name="COVARIANCE")
    matrix.header.add_comment("of fit_depth, rows and columns in the order of SPECTRUM")
    return [table, matrix]


def _ascii(text: str) -> str:
    """A text in the characters that a FITS header can hold, one line."""
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode()


def _bytes(hdu) -> bytes:
    """The HDU as bytes, without the empty primary HDU that astropy writes before it."""
    buffer = BytesIO()
    hdu.writeto(buffer)
    return buffer.getvalue()[FITS_BLOCK:]
