"""A Dask cluster as a worker pool, after a comparison of package versions and folders on every worker with those on this machine.

Without it, tasks would wait without end for a worker that lacks a package. Needs the extra [dask], which is imported on use only.
"""

import asyncio
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ariel_lib.errors import SpectraMindError
from ariel_lib.execution.workers import WorkerPool

if TYPE_CHECKING:
    from distributed import Client

PACKAGES = ("ariel_lib", "numpy", "numba", "pyarrow")  # whose versions, with that of Python, must be equal on all machines
PATIENCE = 20  # s to wait for the scheduler, and for its first worker
AHEAD = 2  # tasks submitted for each thread of the cluster, so that none is idle during transfers

# Source text for eval: a function of this library could not be sent to a worker where the library is missing.
_VERSIONS = f"""{{
    "python": __import__("platform").python_version(),
    **{{name: __import__(name).__version__ if __import__("importlib.util").util.find_spec(name) else "missing" for name in {PACKAGES}}},
}}"""


class ClusterError(SpectraMindError):
    """A cluster that cannot be used; the message states what was expected and what was found."""


@contextmanager
def open_pool(address: str, *folders: Path) -> Iterator[WorkerPool]:
    """A pool of all workers of a Dask scheduler, after check_cluster.

    address  of the scheduler, tcp://host:port
    folders  that must exist on every worker under the same path

    Raises ClusterError for a scheduler that does not answer, has no worker, or fails the check.
    """
    if find_spec("distributed") is None:
        raise ClusterError("--scheduler: expected dask distributed, found it missing: pip install 'spectramind[dask]'")
    from distributed import Client, KilledWorker

    _require_scheduler(address)
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
                f"{address}: expected a running scheduler, found that it has stopped. Finished work is kept: run the same command again."
            ) from error


def _require_scheduler(address: str) -> None:
    """Raise ClusterError where the address is not a scheduler's.

    distributed.Client has no time limit for a server of another kind, such as the dashboard's.
    """
    try:
        with ThreadPoolExecutor(1) as thread:  # a notebook's own event loop may be running in this one
            found = thread.submit(asyncio.run, _identity(address)).result()["type"]
    except TimeoutError:
        found = "a server that does not answer as one"
    except (OSError, ValueError, TypeError) as error:  # TypeError: tls:// without certificates in dask's configuration
        found = str(error)
    if found != "Scheduler":
        hint = "Give the address that `dask scheduler` prints, not that of its dashboard."
        raise ClusterError(f"{address}: expected a Dask scheduler that answers within {PATIENCE} s, found {found}. {hint}")


async def _identity(address: str) -> dict:
    from distributed.core import rpc
    from distributed.security import Security

    async with rpc(address, timeout=PATIENCE, connection_args=Security().get_connection_args("client")) as server:
        return await asyncio.wait_for(server.identity(), PATIENCE + 1)  # past the limit for the connection, which has a message of its own


def check_cluster(client: "Client", address: str, folders: tuple[Path, ...]) -> int:
    """Compare versions and folders on all machines of a cluster with those here; returns its number of threads. Raises ClusterError."""
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
        present = client.run(eval, f"__import__('os').path.isdir({str(folder)!r})")
        wrong += [f"worker {name} does not see the folder {folder}" for name, there in present.items() if not there]
    if wrong:
        raise ClusterError(f"{address}: expected the same versions and folders as here, found {'; '.join(wrong)}")
    return sum(client.nthreads().values())


def compare_versions(here: Mapping[str, str], found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A sentence for each version that differs.

    here   package → version on this machine, 'missing' where it is not installed
    found  name of machine → the same for that machine
    """
    return [
        f"{machine} has {name} {there[name]}, here it is {version}" if there[name] != "missing" else f"{machine} lacks {name}"
        for machine, there in found.items()
        for name, version in here.items()
        if there[name] != version
    ]
