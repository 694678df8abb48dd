"""The routes, and the server: typed JSON under /api, dashboards in a sandbox under /pages, the built front end at /.

Read only: there is no route that writes, and guard.py lets nothing but GET and HEAD in.
"""

import mimetypes
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from ariel_lib import __version__
from ariel_lib.errors import SpectraMindError
from ariel_lib.server.guard import SANDBOX_POLICY, Guard
from ariel_lib.server.planet import Observatory
from ariel_lib.server.reading import BROKEN, Folders, NotServed, Unreadable, said
from ariel_lib.server.runs import Library
from ariel_lib.server.schemas import (
    Board,
    Comparison,
    Failure,
    LightCurves,
    Page,
    PlanetDetail,
    Planets,
    RunDetail,
    Running,
    Runs,
    Table,
)

STATIC = Path(__file__).parent / "static"
Text = Annotated[str, Query(max_length=300)]
Id = Annotated[str, Query(min_length=16, max_length=16, pattern="^[0-9a-f]+$")]
Order = Annotated[Literal["asc", "desc"], Query()]
Offset = Annotated[int, Query(ge=0, le=10**7)]
Limit = Annotated[int, Query(ge=1, le=500)]
THREADS = 8  # that answer at a time: each may hold a visit's light curves


def make_app(root: Path | str, also: Sequence[Path | str] = (), hosts: Sequence[str] = ()) -> Guard:
    """The ASGI app over the artifacts under root. also: further folders that may be read; hosts: further names to answer to."""
    return Guard(make_routes(root, also), hosts)


def make_routes(root: Path | str, also: Sequence[Path | str] = ()) -> FastAPI:
    library = Library(Folders(root, also))
    observatory = Observatory(library)
    app = FastAPI(
        title="SpectraMind", version=__version__, description="What the command line wrote, to be read.",
        openapi_url="/api/openapi.json", docs_url=None, redoc_url=None, redirect_slashes=False,
        lifespan=_few_threads, responses={404: {"model": Failure}, 422: {"model": Failure}},
        generate_unique_id_function=lambda route: route.name,
    )  # fmt: skip
    _add_failures(app)

    @app.get("/api/runs")
    def runs(
        q: Text = "", command: Text = "", sort: Literal["started", "folder", "command", "score", "seconds"] = "started",
        order: Order = "desc", offset: Offset = 0, limit: Limit = 100,
    ) -> Runs:  # fmt: skip
        """Runs whose folder or command holds the text q."""
        return library.listed(q, command, sort, order, offset, limit)

    @app.get("/api/run")
    def run(run: Id) -> RunDetail:
        """All that a run's manifest says."""
        return library.detail(run)

    @app.get("/api/compare")
    def compare(a: Id, b: Id) -> Comparison:
        """Two runs side by side."""
        return library.compare(a, b)

    @app.get("/api/planets")
    def planets(
        run: Id, q: Text = "",
        sort: Literal["planet", "depth_ppm", "sigma_ppm", "error_ppm", "flags", "violations"] = "planet",
        order: Order = "asc", offset: Offset = 0, limit: Limit = 100,
    ) -> Planets:  # fmt: skip
        """Planets of a submission whose id or flags hold the text q."""
        return observatory.listed(run, q, sort, order, offset, limit)

    @app.get("/api/planet")
    def planet(run: Id, planet: Text) -> PlanetDetail:
        """Spectrum, fit, intervals, gates, attributions, edges and violations of one planet."""
        return observatory.planet(run, planet)

    @app.get("/api/light-curves")
    def light_curves(run: Id, planet: Text) -> LightCurves:
        """White light of each visit as calibration left it."""
        return observatory.light_curves(run, planet)

    @app.get("/api/leaderboards")
    def leaderboards() -> list[Board]:
        """Tables that `ablate` and `compare` wrote."""
        return library.boards()

    @app.get("/api/leaderboard")
    def leaderboard(board: Id) -> Table:
        """One of these tables."""
        return library.board(board)

    @app.get("/api/running")
    def running() -> list[Running]:
        """Calibrations, trainings and predictions that go on, by their own running.json."""
        return library.running()

    @app.get("/api/pages")
    def pages() -> list[Page]:
        """Dashboards and reports."""
        return library.pages()

    @app.get("/pages/{page}", response_class=FileResponse)
    def page(page: str):
        """A dashboard or report as it lies there, in a sandbox."""
        headers = {"content-security-policy": SANDBOX_POLICY, "x-frame-options": "SAMEORIGIN"}
        return FileResponse(library.page(page), media_type="text/html; charset=utf-8", headers=headers)

    for path, answer in _front_end().items():
        app.add_api_route(path, answer, include_in_schema=False, name=path)
    return app


@asynccontextmanager
async def _few_threads(app: FastAPI) -> AsyncIterator[None]:
    current_default_thread_limiter().total_tokens = THREADS
    yield


def _add_failures(app: FastAPI) -> None:
    """Every failure is a status and {"error": a sentence}."""

    def fails(status: int, say: Callable[[Exception], object] = str):
        return lambda request, error: JSONResponse({"error": said(say(error))}, status)

    def misses(request: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": "no such page" if error.status_code == 404 else said(error.detail)}, error.status_code)

    app.add_exception_handler(NotServed, fails(404))
    app.add_exception_handler(Unreadable, fails(422))
    app.add_exception_handler(HTTPException, misses)
    app.add_exception_handler(RequestValidationError, fails(422, lambda e: "; ".join(f"{x['loc'][-1]}: {x['msg']}" for x in e.errors())))
    for kind in BROKEN:
        app.add_exception_handler(kind, fails(422, lambda e: f"a file is not as this program writes it: {type(e).__name__}"))


def _front_end() -> dict[str, Callable[[], Response]]:
    """path → answer for every built file, all in memory."""
    answers = {}
    for file in sorted(path for path in STATIC.rglob("*") if path.is_file()):
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        kept = "no-cache" if file.name == "index.html" else "public, max-age=31536000, immutable"
        response = (file.read_bytes(), kind, kept)
        path = "/" if file.name == "index.html" else f"/{file.relative_to(STATIC).as_posix()}"
        answers[path] = lambda r=response: Response(r[0], media_type=r[1], headers={"cache-control": r[2]})
    return answers


def make_config(app: Guard):
    import uvicorn

    return uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, limit_concurrency=500, timeout_keep_alive=5, lifespan="on"
    )


def serve(*, root: Path, host: str, port: int, also: Sequence[Path], names: Sequence[str], log: Callable[[str], None]) -> None:
    """Serve until the process is told to end. port 0 takes a free one; log says which."""
    import uvicorn

    app = make_app(root, also, [host, *names])
    if not (STATIC / "index.html").is_file():
        raise SpectraMindError(f"{STATIC}: expected the built page, found none. `make gui` builds it; it needs Node.")
    try:
        bound = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SpectraMindError(f"{host}:{port}: {error.strerror}. Give another --host or --port.") from error
    shown = f"[{host}]" if ":" in host else host
    log(f"http://{shown}:{bound.getsockname()[1]}/ shows {root}, read only; Ctrl-C ends it")
    uvicorn.Server(make_config(app)).run(sockets=[bound])
