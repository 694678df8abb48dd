"""A Dask scheduler and two workers on loopback calibrate a data set; one worker is killed on the way; a rerun skips all.

    python benchmarks/cluster_demo.py --data DIR --out DIR [--split train]
Everything is a process of its own, as on a real cluster, and the command line does the work. Prints what it printed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PATIENCE = 60  # s for the scheduler to write its address


@contextmanager
def process(*command: str, **options) -> Iterator[subprocess.Popen]:
    """A process that does not outlive the block. One thread: as many planets at a time as workers."""
    running = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, **options)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def dask(*arguments: str):
    return process(sys.executable, "-m", "dask", *arguments, stderr=subprocess.DEVNULL)


def scheduler_address(file: Path) -> str:
    """The address that the scheduler writes once it listens."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if file.is_file() and (text := file.read_text(encoding="utf-8")):
            return json.loads(text)["address"]
        time.sleep(0.1)
    raise TimeoutError(f"the scheduler wrote no address within {PATIENCE} s")


def calibrate(options: argparse.Namespace, address: str) -> list[str]:
    command = [str(Path(sys.executable).with_name("spectramind")), "calibrate", "--data", options.data, "--out", options.out]
    return [*command, "--split", options.split, "--scheduler", address]


def done_so_far(options: argparse.Namespace) -> int:
    return len(list((Path(options.out) / options.split).glob("*.safetensors")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True, help="a new folder, or that of an earlier demonstration, which is replaced")
    parser.add_argument("--split", default="train")
    options = parser.parse_args()
    if Path(options.out).exists() and not (Path(options.out) / "scheduler.json").is_file():
        parser.error(f"--out {options.out}: expected a new folder or one with an earlier demonstration's scheduler.json")
    shutil.rmtree(options.out, ignore_errors=True)
    with ExitStack() as stack:
        file = Path(options.out) / "scheduler.json"
        file.parent.mkdir(parents=True)
        stack.enter_context(
            dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
        )
        address = scheduler_address(file)
        worker = ("worker", address, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard")
        workers = [stack.enter_context(dask(*worker)) for _ in range(2)]
        run = stack.enter_context(process(*calibrate(options, address), stdout=subprocess.PIPE, text=True))
        while run.poll() is None and done_so_far(options) < 4:
            time.sleep(0.02)
        workers[0].kill()
        print(f"killed one of two workers with {done_so_far(options)} visits done")
        print("first run:", json.loads(run.communicate()[0]), "exit code", run.returncode)
        again = subprocess.run(calibrate(options, address), check=False, stdout=subprocess.PIPE, encoding="utf-8")
        print("second run:", json.loads(again.stdout), "exit code", again.returncode)
        sys.exit(run.returncode or again.returncode)


if __name__ == "__main__":
    main()
