"""A Dask cluster as the pool that calibrates: met with a look at what is installed there, as a package that a worker lacks
would leave its tasks waiting for ever.

Needs the extra [dask], imported only here and only when a cluster is asked for. Knows nothing of what a task is.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ariel_lib.errors import SpectraMindError
from ariel_lib.execution.workers import WorkerPool

if TYPE_CHECKING:
    from distributed import Client

PACKAGES = ("ariel_lib", "numpy", "numba", "pyarrow")  # what a result depends on, beside Python itself
PATIENCE = 20  # s until a scheduler must answer, and until it must have a worker
AHEAD = 2  # tasks for each thread of the cluster: none waits for the next one to come over the network

# Text for eval, which every Python has: a function of this library could not travel to where the library is missing.
_VERSIONS = f"""{{
    "python": __import__("platform").python_version(),
    **{{name: __import__(name).__version__ if __import__("importlib.util").util.find_spec(name) else "missing" for name in {PACKAGES}}},
}}"""


class ClusterError(SpectraMindError):
    """A cluster that cannot be used: says what was expected there and what was found."""


@contextmanager
def open_pool(address: str, *folders: Path) -> Iterator[WorkerPool]:
    """The workers of the scheduler at tcp://host:port, once all of them have been found fit.

    folders  that every worker must see under the same path
    Raises ClusterError for a scheduler that does not answer, has no worker, or lacks what is needed.
    """
    if find_spec("distributed") is None:
        raise ClusterError("--scheduler: expected dask distributed, found it missing: pip install 'spectramind[dask]'")
    from distributed import Client, KilledWorker

    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(f"{address}: expected a Dask scheduler that answers within {PATIENCE} s, found {error}") from error
    with client:
        threads = check_cluster(client, address, folders)
        try:
            with WorkerPool(AHEAD * threads, lambda: client.get_executor(pure=False), KilledWorker) as pool:
                yield pool
        except CancelledError as error:
            raise ClusterError(
                f"{address}: expected the scheduler to stay, found it gone. What is done is kept: run the same command again."
            ) from error


def check_cluster(client: "Client", address: str, folders: tuple[Path, ...]) -> int:
    """The number of threads of the cluster's workers, all of which have what they need."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        raise ClusterError(
            f"{address}: expected at least one worker within {PATIENCE} s, found none. Start some: dask worker {address}"
        ) from error
    found = {"the scheduler": client.run_on_scheduler(eval, _VERSIONS)}
    found |= {f"worker {name}": versions for name, versions in client.run(eval, _VERSIONS).items()}
    wrong = compare_versions(eval(_VERSIONS), found)
    for folder in folders:
        seen = client.run(eval, f"__import__('os').path.isdir({str(folder)!r})")
        wrong += [f"worker {name} does not see the folder {folder}" for name, there in seen.items() if not there]
    if wrong:
        raise ClusterError(f"{address}: expected the same versions and folders as here, found {'; '.join(wrong)}")
    return sum(client.nthreads().values())


def compare_versions(here: Mapping[str, str], found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What differs, one sentence each: `found` holds the versions of each machine by its name."""
    return [
        f"{machine} has {name} {there[name]}, here it is {version}" if there[name] != "missing" else f"{machine} lacks {name}"
        for machine, there in found.items()
        for name, version in here.items()
        if there[name] != version
    ]
