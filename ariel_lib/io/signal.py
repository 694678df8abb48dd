"""Raw reads of one instrument, Parquet with one column a pixel, streamed or pixel by pixel."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from ariel_lib.errors import ArchiveError
from ariel_lib.instrument import Instrument
from ariel_lib.io.parquet import open_parquet, pixel_columns


class Signal:
    """The raw reads of one instrument in one visit, uint16.

    n_reads  number of reads (rows of the file); reads come in pairs, start and end of a ramp
    digests  path → SHA-256: the file is held in memory until it is closed, and its digest added; None: only what is wanted is read
    """

    def __init__(self, path: Path, instrument: Instrument, digests: dict[Path, str] | None = None):
        self.path, self.instrument = path, instrument
        self._file = open_parquet(path, digests)
        self._names = pixel_columns(self._file, path, (instrument.rows, instrument.columns))
        schema = self._file.schema_arrow
        foreign = sorted({str(schema.field(name).type) for name in self._names} - {"uint16"})
        if foreign:
            remedy = "Convert what is rounded and lies between 0 and 65535 with table.astype('uint16')."
            raise ArchiveError(path, "uint16 counts", f"columns of type {', '.join(foreign)}", remedy)
        self.n_reads = self._file.metadata.num_rows
        if self.n_reads < 2:
            raise ArchiveError(path, "at least one pair of reads", f"{self.n_reads} rows")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def blocks(self, reads: int = 1024, columns: tuple[int, int] | None = None) -> Iterator[np.ndarray]:
        """Yield counts (time, row, column), uint16, `reads` at a time, of the detector columns first to last of `columns`."""
        inst = self.instrument
        first, last = columns or (0, inst.columns)
        pixels = (np.arange(inst.rows)[:, None] * inst.columns + np.arange(first, last)).ravel()
        names = [self._names[pixel] for pixel in pixels]
        try:
            for batch in self._file.iter_batches(batch_size=reads, columns=names):
                counts = np.empty((len(pixels), batch.num_rows), np.uint16)
                for pixel, column in enumerate(batch.select(names).columns):  # in this order with every version of Arrow
                    if column.null_count:
                        raise ArchiveError(self.path, "counts without gaps", f"{column.null_count} nulls in {names[pixel]}")
                    counts[pixel] = column.to_numpy()
                yield counts.T.reshape(batch.num_rows, inst.rows, last - first)
        except (pa.ArrowException, OSError) as error:
            raise ArchiveError(self.path, "a readable parquet file", f"{type(error).__name__}: {error}") from error

    def decode_series(self, pixels: np.ndarray) -> list[pa.RecordBatch]:
        """Decode all reads of some pixels, for copy_series. Not thread-safe.

        pixels  indices in the detector, row · columns + column, ascending
        """
        names = [self._names[pixel] for pixel in pixels]
        try:
            groups = range(self._file.num_row_groups)
            tables = (self._file.read_row_group(group, columns=names).select(names) for group in groups)
            return [batch for table in tables for batch in table.to_batches()]
        except (pa.ArrowException, OSError) as error:
            raise ArchiveError(self.path, "a readable parquet file", f"{type(error).__name__}: {error}") from error

    def copy_series(self, batches: list[pa.RecordBatch], counts: np.ndarray) -> None:
        """Fill counts (pixel, time), uint16, with the first counts.shape[1] reads of the result of decode_series."""
        first = 0
        for batch in batches:
            rows = slice(first, min(first + batch.num_rows, counts.shape[1]))
            for pixel, column in enumerate(batch.columns):
                if column.null_count:
                    raise ArchiveError(self.path, "counts without gaps", f"{column.null_count} nulls in {batch.schema.names[pixel]}")
                counts[pixel, rows] = column.to_numpy()[: rows.stop - rows.start]
            first = rows.stop


def return_memory() -> None:
    """Use the system's allocator for Arrow's results: Arrow's default one keeps some 150 MB of each visit.

    The buffers of its Parquet reader follow ARROW_DEFAULT_MEMORY_POOL=system instead, set before Arrow is imported.
    """
    pa.set_memory_pool(pa.system_memory_pool())


def decoding_threads() -> int:
    """Number of threads that Arrow decodes with: one a core, or OMP_NUM_THREADS."""
    return pa.cpu_count()
