"""The routes and the server: typed JSON under /api, dashboards in a sandbox under /pages, the built front end at /.

No route writes a file; middleware.py is applied to all of them.
"""

import logging
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
from starlette.types import ASGIApp

from ariel_lib import __version__
from ariel_lib.errors import SpectraMindError
from ariel_lib.server import documents, progress
from ariel_lib.server.middleware import SANDBOX_POLICY, protect, under_prefix
from ariel_lib.server.planet import PlanetPages
from ariel_lib.server.reading import FORMAT_ERRORS, NotFound, ServedFolders, UnreadableFile
from ariel_lib.server.runs import RunIndex
from ariel_lib.server.schemas import (
    Comparison,
    Failure,
    Leaderboard,
    LightCurves,
    Page,
    PlanetDetail,
    Planets,
    RunDetail,
    Running,
    Runs,
    Table,
)
from ariel_lib.server.values import as_text

STATIC = Path(__file__).parent / "static"
Text = Annotated[str, Query(max_length=300)]
Id = Annotated[str, Query(min_length=16, max_length=16, pattern="^[0-9a-f]+$")]
Order = Annotated[Literal["asc", "desc"], Query()]
Offset = Annotated[int, Query(ge=0, le=10**7)]
Limit = Annotated[int, Query(ge=1, le=500)]
THREADS = 8  # requests answered in parallel: each may hold the light curves of one visit in memory
logger = logging.getLogger(__name__)


def make_app(root: Path | str, also: Sequence[Path | str] = (), hosts: Sequence[str] = (), root_path: str = "") -> ASGIApp:
    """The web application for the files under root.

    also       further folders whose files may be read
    hosts      accepted host names besides localhost, as in middleware.protect
    root_path  path prefix that a proxy passes on, as in middleware.under_prefix; empty for none

    Raises SpectraMindError for a missing folder, an invalid host name and an invalid prefix.
    """
    routes = make_routes(root, also)
    return protect(under_prefix(routes, root_path) if root_path else routes, hosts)


def make_routes(root: Path | str, also: Sequence[Path | str] = ()) -> FastAPI:
    """The routes alone, without middleware: any host name, no security headers."""
    folders = ServedFolders(root, also)
    index = RunIndex(folders)
    planet_pages = PlanetPages(index)
    app = FastAPI(
        title="SpectraMind", version=__version__, description="Runs and their results, read only.",
        openapi_url="/api/openapi.json", docs_url=None, redoc_url=None, redirect_slashes=False,
        lifespan=_limit_threads, responses={404: {"model": Failure}, 422: {"model": Failure}},
        generate_unique_id_function=lambda route: route.name,
    )  # fmt: skip
    _add_failures(app)
    _add_run_routes(app, index)
    _add_planet_routes(app, planet_pages)
    _add_document_routes(app, folders)
    for path, answer in _front_end().items():
        app.add_api_route(path, answer, include_in_schema=False, name=path)
    return app


def _add_run_routes(app: FastAPI, index: RunIndex) -> None:
    @app.get("/api/runs")
    def runs(
        q: Text = "", command: Text = "", sort: Literal["started", "folder", "command", "score", "seconds"] = "started",
        order: Order = "desc", offset: Offset = 0, limit: Limit = 100,
    ) -> Runs:  # fmt: skip
        """Runs whose folder, command or manifest contains the text q."""
        return index.list_runs(q, command, sort, order, offset, limit)

    @app.get("/api/run")
    def run(run: Id) -> RunDetail:
        """The manifest of one run."""
        return index.detail(run)

    @app.get("/api/compare")
    def compare(a: Id, b: Id) -> Comparison:
        """Two runs side by side."""
        return index.compare(a, b)


def _add_planet_routes(app: FastAPI, planet_pages: PlanetPages) -> None:
    @app.get("/api/planets")
    def planets(
        run: Id, q: Text = "",
        sort: Literal["planet", "depth_ppm", "sigma_ppm", "error_ppm", "flags", "violations"] = "planet",
        order: Order = "asc", offset: Offset = 0, limit: Limit = 100,
    ) -> Planets:  # fmt: skip
        """Planets of a run's submission whose id or flags contain the text q."""
        return planet_pages.list_planets(run, q, sort, order, offset, limit)

    @app.get("/api/planet")
    def planet(run: Id, planet: Text) -> PlanetDetail:
        """Spectrum, transit fit, intervals, decoder gates, attributions, graph edges and violated rules of one planet."""
        return planet_pages.planet(run, planet)

    @app.get("/api/light-curves")
    def light_curves(run: Id, planet: Text) -> LightCurves:
        """Calibrated white light of each visit."""
        return planet_pages.light_curves(run, planet)


def _add_document_routes(app: FastAPI, folders: ServedFolders) -> None:
    @app.get("/api/leaderboards")
    def leaderboards() -> list[Leaderboard]:
        """Tables that `ablate` and `compare` wrote."""
        return documents.list_leaderboards(folders)

    @app.get("/api/leaderboard")
    def leaderboard(board: Id) -> Table:
        """One of these tables."""
        return documents.read_leaderboard(folders, board)

    @app.get("/api/running")
    def running() -> list[Running]:
        """Commands in progress, from the running.json that each keeps while it runs."""
        return progress.list_running(folders)

    @app.get("/api/pages")
    def pages() -> list[Page]:
        """Dashboards and reports."""
        return documents.list_pages(folders)

    @app.get("/pages/{page}", response_class=FileResponse)
    def page(page: str):
        """A dashboard or report, unchanged, in a sandbox."""
        headers = {"content-security-policy": SANDBOX_POLICY, "x-frame-options": "SAMEORIGIN"}
        return FileResponse(documents.find_page(folders, page), media_type="text/html; charset=utf-8", headers=headers)


@asynccontextmanager
async def _limit_threads(app: FastAPI) -> AsyncIterator[None]:
    current_default_thread_limiter().total_tokens = THREADS
    yield


def _add_failures(app: FastAPI) -> None:
    """Register the answers to exceptions: a status code and {"error": one sentence}."""

    def answer(status: int, describe: Callable[[Exception], object] = str):
        return lambda request, error: JSONResponse({"error": as_text(describe(error))}, status)

    def http_error(request: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": "no such page" if error.status_code == 404 else as_text(error.detail)}, error.status_code)

    def removed(error: Exception) -> str:
        return f"{Path(str(error.filename)).name} has been removed since its folder was listed"

    def unexpected_format(error: Exception) -> str:
        logger.warning("a request failed", exc_info=error)  # with its traceback, since a defect of this code is caught here too
        return f"a file has another format than this version writes: {type(error).__name__}"

    app.add_exception_handler(NotFound, answer(404))
    app.add_exception_handler(FileNotFoundError, answer(404, removed))
    app.add_exception_handler(UnreadableFile, answer(422))
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, answer(422, lambda e: "; ".join(f"{x['loc'][-1]}: {x['msg']}" for x in e.errors())))
    for kind in FORMAT_ERRORS:
        app.add_exception_handler(kind, answer(422, unexpected_format))


def _front_end() -> dict[str, Callable[[], Response]]:
    """URL path → function that answers with that file of the built front end; all files are held in memory."""
    answers = {}
    for file in sorted(path for path in STATIC.rglob("*") if path.is_file()):
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        kept = "no-cache" if file.name == "index.html" else "public, max-age=31536000, immutable"
        response = (file.read_bytes(), kind, kept)
        path = "/" if file.name == "index.html" else f"/{file.relative_to(STATIC).as_posix()}"
        answers[path] = lambda r=response: Response(r[0], media_type=r[1], headers={"cache-control": r[2]})
    return answers


def make_config(app: ASGIApp):
    """uvicorn's configuration for this application."""
    import uvicorn

    return uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, limit_concurrency=500, timeout_keep_alive=5, lifespan="on"
    )


def serve(
    *, root: Path, host: str, port: int, also: Sequence[Path], names: Sequence[str], root_path: str = "", log: Callable[[str], None]
) -> None:
    """Serve the files under root until the process is interrupted.

    port       0 for any free one
    also       further folders whose files may be read
    names      accepted host names besides localhost and host
    root_path  as in make_app
    log        called with the address

    Raises SpectraMindError for a folder, an address or a name that cannot be used.
    """
    import uvicorn

    app = make_app(root, also, [host, *names], root_path)
    if not (STATIC / "index.html").is_file():
        raise SpectraMindError(f"{STATIC}: expected the built web page, found none. `make gui` builds it; that needs Node.")
    try:
        bound = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SpectraMindError(f"{host}:{port}: {error.strerror}. Give another --host or --port.") from error
    shown = f"[{host}]" if ":" in host else host
    log(f"http://{shown}:{bound.getsockname()[1]}/ shows {root}, read only. Ctrl-C ends it.")
    uvicorn.Server(make_config(app)).run(sockets=[bound])
