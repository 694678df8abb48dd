"""A folder as the command line leaves it, and a server on it, asked over a socket."""

import http.client
import json
import socket
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra [gui]")
pytest.importorskip("uvicorn", reason="needs the extra [gui]")

from ariel_lib.io.layout import light_curves_path
from ariel_lib.io.light_curves import LightCurve, LightCurves, save_light_curves
from ariel_lib.io.storage import save_arrays
from ariel_lib.io.submission import write_submission
from ariel_lib.provenance.record import record_run
from ariel_lib.transit.result import DepthEstimate, WhiteCurve, save_estimate

PLANETS = ("1103775", "42", "<img src=x onerror=alert(1)>")
WIDTH, STEPS, EDGES = 7, 1200, 4


def make_run(root):
    """A data set, a submission and what predict, diagnose and check leave; returns the submission's arrays."""
    rng, data, folder = np.random.default_rng(3), root / "data", root / "v50"
    data.mkdir(parents=True)
    folder.mkdir()
    head = ",".join(f"wl_{n + 1}" for n in range(WIDTH))
    wavelength = [0.7, *np.linspace(1.95, 3.9, WIDTH - 1).tolist()]
    (data / "wavelengths.csv").write_text(head + "\n" + ",".join(map(repr, wavelength)) + "\n")
    mean, sigma, truth = 0.01 + 1e-3 * rng.random((3, WIDTH)), 1e-4 * (1 + rng.random((3, WIDTH))), 0.01 + 1e-3 * rng.random((2, WIDTH))
    rows = [",".join([planet, *map(repr, row)]) for planet, row in zip(PLANETS, truth.tolist())]
    (data / "test.csv").write_text(f"planet_id,{head}\n" + "\n".join(rows) + "\n")
    (data / "test_star_info.csv").write_text("planet_id,Rs,Ts\n1103775,1.1,5800\n")
    submission = folder / "submission.csv"
    with record_run("predict", folder) as run:
        write_submission(submission, PLANETS, mean, sigma, fallback_mean=mean[0], fallback_sigma=0.01)
        kept = {name: rng.random((2, WIDTH)) for name in ("initial_mean", "initial_sigma", "depth", "depth_sigma")}
        save_arrays(submission.with_suffix(".safetensors"), kept, {"planet_ids": json.dumps(PLANETS[:2])})
        facts = {"flags": {PLANETS[1]: ["red_noise"]}, "fallbacks": {PLANETS[2]: "no light"}, "notes": {}}
        record = {"answered": 2, "source": {"data": str(data), "weights": "0"}, **facts}
        submission.with_suffix(".json").write_text(json.dumps(record))
        run.artifacts, run.inputs = [submission], {"data": data}
        run.metrics, run.settings = {"planets": 3, "v50": {"score": 0.5}}, {"split": "test"}
    white = WhiteCurve("FGS1", 0, *rng.random((4, STEPS)), 1e-4, 1e5, 3.7, 2.5, 1.01, 0.0, 0.1)
    blank = np.zeros((0, 0))
    estimate = DepthEstimate(
        PLANETS[0], mean[0], np.eye(WIDTH), *np.ones((3, WIDTH)), np.zeros(8), np.zeros(0), blank, np.zeros((WIDTH, 0)),
        np.zeros(0, int), (white,), (),
    )  # fmt: skip
    save_estimate(folder / "estimates" / "test" / f"{PLANETS[0]}.safetensors", estimate, "source")
    curves = {
        name: LightCurve(
            np.linspace(0, 7, STEPS), 1000 + rng.random(shape), np.ones(shape), np.ones(shape), np.zeros((STEPS, 2)), np.zeros(STEPS),
            rng.random(shape) < 0.1,
        )
        for name, shape in (("fgs1", (STEPS,)), ("airs", (STEPS, WIDTH - 1)))
    }  # fmt: skip
    path = light_curves_path(data / "lightcurves", "test", PLANETS[0], 0)
    path.parent.mkdir(parents=True)
    save_light_curves(path, LightCurves(PLANETS[0], 0, **curves))
    with record_run("diagnose", root / "diagnostics", manifest="manifest.json") as run:
        (root / "diagnostics").mkdir()
        arrays = {
            "gates": rng.random((2, WIDTH, 3)), "shap": rng.random((1, 6, WIDTH)), "ig": rng.random((1, 6, WIDTH)),
            "correction": rng.random((1, 6)), "ig_error": rng.random((1, 6)), "edge_share": rng.random((1, 2, EDGES)),
            "edge_index": np.array([[0, 1, 2, 3], [1, 2, 3, 0]]), "edge_type": np.array([0, 1, 1, 1]),
        }  # fmt: skip
        words = {"planet_ids": PLANETS[:2], "experts": ["spectrum", "star", "fgs1"], "relations": ["white", "neighbour"]}
        save_arrays(root / "diagnostics" / "explanation.safetensors", arrays, {k: json.dumps(v) for k, v in words.items()})
        (root / "diagnostics" / "report.html").write_text("<script>alert(document.domain)</script>")
        run.inputs, run.metrics = {"submission": submission}, {"score": 0.6}
    with record_run("check", root / "check") as run:
        (root / "check").mkdir()
        lines = [{"planet": "42", "rule": "smoothness", "bin": 3, "wavelength": 2.3, "ppm": 55.0, "sigmas": 4.5}]
        lines += [{"planet": "42", "violated": ["smoothness"], "molecules": {"H2O": 0.5}}]
        lines += [{"planet": "1103775", "violated": [], "molecules": {"H2O": 0.5}}]
        (root / "check" / "violations.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
        run.inputs = {"submission": submission}
    (root / "ablation").mkdir()
    (root / "ablation" / "leaderboard.csv").write_text('rank,composite,point\n1,0.9,"a=1 b=[1, 2]"\n2,0.1,c=2\n')
    return {"mean": mean, "sigma": sigma, "truth": truth, "kept": kept, "arrays": arrays}


class Asker:
    """Asks the server at a port; raw says exactly these bytes."""

    def __init__(self, port):
        self.port = port

    def ask(self, target, method="GET", headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, target, headers=headers or {})
        response = connection.getresponse()
        return response, response.read()

    def json(self, target, status=200):
        response, body = self.ask(target)
        assert response.status == status, body[:500]
        return json.loads(body)

    def raw(self, request, *, hang_up=False):
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
            found = b""
            while part := connection.recv(65536):
                found += part
        return found

    def run(self, command="predict"):
        return next(run["id"] for run in self.json("/api/runs")["runs"] if run["command"] == command)


@contextmanager
def served(root, **how):
    import uvicorn

    from ariel_lib.server.app import make_app, make_config

    bound = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(make_config(make_app(root, **how)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Asker(bound.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        bound.close()
