"""One folder and one server for each file of tests; what they are is in site.py, which skips where the extra is missing."""

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from .site import make_run

    root = tmp_path_factory.mktemp("outputs")
    return root, make_run(root)


@pytest.fixture(scope="module")
def site(folder):
    from .site import served

    with served(folder[0]) as asker:
        yield asker
