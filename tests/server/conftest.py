"""One folder and one server for each file of tests, made by site.py, which skips where the extra [gui] is missing."""

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from .site import make_run

    root = tmp_path_factory.mktemp("outputs")
    return root, make_run(root)


@pytest.fixture(scope="module")
def site(folder):
    from .site import served

    with served(folder[0]) as client:
        yield client
