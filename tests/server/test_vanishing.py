"""Folders that are removed while the page is open: never a traceback, and nothing that is gone is listed."""

import shutil

import pytest

from .site import make_run, served


@pytest.fixture
def root(tmp_path):
    make_run(tmp_path)
    return tmp_path


def test_a_folder_that_is_removed_is_no_longer_listed(root, caplog):
    with served(root) as site:
        run, lists = site.run(), ("/api/leaderboards", "/api/pages", "/api/running")
        planet = site.json(f"/api/planets?run={run}")["planets"][0]["planet"]
        about = [f"/api/run?run={run}", f"/api/planets?run={run}", f"/api/planet?run={run}&planet={planet}"]
        assert all(site.json(where) is not None for where in (*about, *lists))  # now the listing is kept for two seconds
        (root / "v50" / "submission.csv").unlink()
        for where in about[1:]:
            assert "submission.csv has been removed" in site.json(where, 404)["error"]
        for path in root.iterdir():
            shutil.rmtree(path)
        assert site.json("/api/runs")["runs"] == []
        assert [site.json(where) for where in lists] == [[], [], []]
        assert all(site.json(where, 404)["error"] for where in about)
    assert "Traceback" not in caplog.text
