"""A folder as the commands leave it, written by the library's own writers, and a server on it, asked over a socket."""

import http.client
import json
import socket
import threading
import time
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import torch

pytest.importorskip("fastapi", reason="needs the extra [gui]")
pytest.importorskip("uvicorn", reason="needs the extra [gui]")

from ariel_lib.commands import run_check
from ariel_lib.diagnostics.attribution import explain
from ariel_lib.execution.time_budget import Budget
from ariel_lib.io.dataset import Dataset
from ariel_lib.io.layout import Spectra, Star, light_curves_path
from ariel_lib.io.light_curves import LightCurve, LightCurves, save_light_curves
from ariel_lib.io.storage import save_arrays
from ariel_lib.io.writer import write_spectra, write_stars, write_wavelengths
from ariel_lib.models.decoder import EXPERTS
from ariel_lib.models.inputs import Inputs
from ariel_lib.models.v50 import V50, Hyperparameters
from ariel_lib.prediction import predict
from ariel_lib.prediction.submission_file import SubmissionFile
from ariel_lib.provenance.record import record_run
from ariel_lib.transit.result import DepthEstimate, Flag, WhiteCurve, save_estimate

PLANETS = ("1103775", "42", "<img src=x onerror=alert(1)>")
WIDTH, STEPS = 25, 1200
WAVELENGTH = np.array([0.7, *np.linspace(1.95, 3.9, WIDTH - 1)])
SPIKE = 3  # wavelength index at which the spectrum of planet 42 breaks a rule


def make_run(root):
    """A data set, a submission and what predict, diagnose and check leave; returns the submission's arrays."""
    rng, data = np.random.default_rng(3), root / "data"
    data.mkdir(parents=True)
    write_wavelengths(data, WAVELENGTH)
    truth = 0.01 + 1e-6 * rng.random((2, WIDTH))
    write_spectra(data / "test.csv", Spectra(PLANETS[:2], truth))
    write_stars(data, "test", [Star(PLANETS[0], Rs=1.1, Ms=1.0, Ts=5800.0, Mp=0.5, e=0.0, P=4.0, sma=9.0, i=88.0)])
    write_light_curves(rng, light_curves_path(data / "lightcurves", "test", PLANETS[0], 0))
    answers = write_submission(rng, root / "v50", data)
    arrays = write_explanation(rng, root / "diagnostics", root / "v50" / "submission.csv")
    others = light_curves_path(root / "others", "test", "another planet", 0)
    others.parent.mkdir(parents=True)
    others.touch()
    dataset = Dataset(data, light_curves=root / "others")
    run_check(dataset, submission=root / "v50" / "submission.csv", outdir=root / "check")
    (root / "ablation").mkdir()
    (root / "ablation" / "leaderboard.csv").write_text('rank,composite,point\n1,0.9,"a=1 b=[1, 2]"\n2,0.1,c=2\n')
    return {"truth": truth, "answers": answers, "arrays": arrays}


def write_submission(rng, folder, data):
    """As `predict` does, for two planets of three; returns the answers of the two."""
    folder.mkdir()
    flags = {PLANETS[0]: (), PLANETS[1]: (Flag.RED_NOISE,)}
    drawn = {planet: 0.01 + 1e-6 * rng.random((4, WIDTH)) for planet in flags}
    drawn[PLANETS[1]][0, SPIKE] += 1e-3
    sigmas = {planet: 1e-5 * (1 + rng.random((4, WIDTH))) for planet in flags}
    answers = {
        planet: predict.Answer(*(x for pair in zip(drawn[planet], sigmas[planet]) for x in pair), flags[planet], "library_posterior")
        for planet in flags
    }
    with record_run("predict", folder) as run:
        path, budget = folder / "submission.csv", Budget(None)
        budget.skip("ensemble members", "one planet was left to one of two networks")
        file = SubmissionFile(path, PLANETS, (np.full(WIDTH, 0.01), np.full(WIDTH, 0.01)), {"data": str(data), "weights": "0"})
        predict._write(file, predict.Answers(answers, reasons={PLANETS[2]: "no light"}), budget, print)
        assert file.written == set(answers) and predict.WRITING not in budget.skipped
        run.artifacts, run.inputs = [path, path.with_suffix(".json")], {"data": data}
        run.metrics, run.settings = {"planets": 3, "v50": {"score": 0.5}}, {"split": "test"}
    white = WhiteCurve("FGS1", 0, *rng.random((4, STEPS)), 1e-4, 1e5, 3.7, 2.5, 1.01, 0.02, 0.1)
    estimate = DepthEstimate(
        PLANETS[0], drawn[PLANETS[0]][3], np.eye(WIDTH), *np.ones((3, WIDTH)), np.zeros(8), np.zeros(0), np.zeros((0, 0)),
        np.zeros((WIDTH, 0)), np.zeros(0, int), (white,), (),
    )  # fmt: skip
    save_estimate(folder / "estimates" / "test" / f"{PLANETS[0]}.safetensors", estimate, "source")
    return answers


def write_light_curves(rng, path):
    curves = {
        name: LightCurve(
            np.linspace(0, 7, STEPS), 1000 + rng.random(shape), np.ones(shape), np.ones(shape), np.zeros((STEPS, 2)), np.zeros(STEPS),
            rng.random(shape) < 0.1,
        )
        for name, shape in (("fgs1", (STEPS,)), ("airs", (STEPS, WIDTH - 1)))
    }  # fmt: skip
    path.parent.mkdir(parents=True)
    save_light_curves(path, LightCurves(PLANETS[0], 0, **curves))


def write_explanation(rng, folder, submission):
    """As `diagnose dashboard` does, with an untrained network: two planets, attributions of the first."""
    folder.mkdir()
    network = V50(Hyperparameters(
        channels=5, node_features=7, star_features=11, wavelength=WAVELENGTH.tolist(), hidden=8, gnn_layers=1, d_model=16, headdim=16,
        depth=1, seed=1,
    ))  # fmt: skip
    shapes = ((40, 5), (WIDTH, 7), (11,))
    drawn = [[torch.tensor(rng.normal(size=(1, *shape)), dtype=torch.float32) for shape in shapes] for _ in PLANETS[:2]]
    mean, sigma = torch.full((1, WIDTH), 0.01), torch.full((1, WIDTH), 1e-4)
    inputs = [Inputs(fgs1, torch.zeros(1, 40, dtype=bool), mean, sigma, nodes, star) for fgs1, nodes, star in drawn]
    with torch.no_grad():  # zero at initialisation: there would be nothing to explain
        network.decoder.delta.weight.fill_(0.3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for so small a network, more are slower
    arrays = explain(network, inputs, 1, 0)
    torch.set_num_threads(threads)
    with record_run("diagnose", folder, manifest="manifest.json") as run:
        words = {"planet_ids": PLANETS[:2], "experts": EXPERTS, "relations": network.gnn.graph.relations}
        save_arrays(folder / "explanation.safetensors", arrays, {name: json.dumps(value) for name, value in words.items()})
        (folder / "report.html").write_text("<script>alert(document.domain)</script>")
        run.inputs, run.metrics = {"submission": submission}, {"score": 0.6}
    return arrays | {"relations": list(network.gnn.graph.relations)}


class Client:
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
                with suppress(OSError):  # not connected: the server hung up first, and what it said can still be read
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
        yield Client(bound.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        bound.close()
