"""A server of the web page on a free port, requests to it, and many readers at once. For benchmarks/web_page.py."""

import http.client
import json
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit


@contextmanager
def serving(root, data):
    """The address of a server over root, and its process."""
    command = [sys.executable, "-c", "from ariel_lib.cli import app; app()", "serve", "--root", str(root), "--port", "0"]
    process = subprocess.Popen([*command, *(x for d in data for x in ("--data", str(d)))], stderr=subprocess.PIPE, encoding="utf-8")
    try:
        yield re.match(r"http://\S+", process.stderr.readline())[0].rstrip("/"), process
    finally:
        process.terminate()
        process.wait(timeout=10)


def get(base, target):
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=30)
    connection.request("GET", target)
    return json.loads(connection.getresponse().read())


def submission_of(base):
    """The run with the most planets, and their ids."""
    runs = [run["id"] for run in get(base, "/api/runs?limit=500")["runs"] if run["has_submission"]]
    found = {run: get(base, f"/api/planets?run={run}&limit=500") for run in runs}
    run = max(found, key=lambda run: found[run].get("total", 0))
    return run, [planet["planet"] for planet in found[run]["planets"]], found[run]["total"]


def load(arguments) -> dict:
    """Readers that send requests without pause: times, failures, and the server's memory."""
    with serving(arguments.root, arguments.data) as (base, process):
        run, planets, total = submission_of(base)
        stop, lock = time.monotonic() + arguments.seconds, threading.Lock()
        times, failures, memory = [], [], []

        def read(seed):
            choose, mine = random.Random(seed), []
            connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=30)
            while time.monotonic() < stop:
                planet = quote(choose.choice(planets))
                target = choose.choice((
                    f"/api/planet?run={run}&planet={planet}", f"/api/light-curves?run={run}&planet={planet}", "/", "/api/runs",
                    f"/api/planets?run={run}&sort=error_ppm&order=desc&offset={choose.randrange(total)}", f"/api/run?run={run}",
                ))  # fmt: skip
                start = time.monotonic()
                try:
                    connection.request("GET", target)
                    response = connection.getresponse()
                    body = response.read()
                    if response.status != 200 or not body:
                        raise AssertionError(f"{target}: {response.status}")
                except (OSError, http.client.HTTPException, AssertionError) as error:
                    with lock:
                        failures.append(f"{type(error).__name__}: {error}")
                    connection.close()
                mine.append(time.monotonic() - start)
            with lock:
                times.extend(mine)

        readers = [threading.Thread(target=read, args=(seed,)) for seed in range(arguments.readers)]
        for reader in readers:
            reader.start()
        while time.monotonic() < stop:
            memory.append(resident(process.pid))
            time.sleep(1)
        for reader in readers:
            reader.join()
        times.sort()
        quarter = len(memory) // 4
        return {
            "planets": total, "readers": arguments.readers, "seconds": arguments.seconds, "answers": len(times) - len(failures),
            "failures": len(failures), "first_failures": failures[:5], "median_ms": round(1e3 * statistics.median(times), 1),
            "p99_ms": round(1e3 * times[int(0.99 * len(times))], 1),
            "resident_mb_by_quarter": [round(statistics.median(memory[n * quarter : (n + 1) * quarter]), 1) for n in range(4)],
            "resident_mb_most": round(max(memory), 1),
        }  # fmt: skip


def resident(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024
