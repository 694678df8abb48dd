"""evaluation.leaderboard against figures worked out by hand."""

import pytest

from ariel_lib.evaluation.leaderboard import composites, normalised, ranked, shared_weights, weights_sentence


def make_point(validation, gap, runtime, violations, public=None, z=0.1, mae=1e-4):
    return {
        "public": public, "validation": validation, "coverage_gap": gap, "runtime_s": runtime, "violations": violations,
        "z_error": z, "mae": mae,
    }  # fmt: skip


def test_normalised_by_hand():
    assert normalised([1.0, 3.0, 2.0], True) == [0.0, 1.0, 0.5]
    assert normalised([1.0, 3.0, 2.0], False) == [1.0, 0.0, 0.5]
    assert normalised([2.0, 2.0], True) == [1.0, 1.0]


def test_four_points_with_public_scores_by_hand():
    points = [
        make_point(0.60, 0.10, 100, 0.00, public=0.50),
        make_point(0.50, 0.00, 200, 0.10, public=0.60),
        make_point(0.40, 0.05, 300, 0.05, public=0.55),
        make_point(0.55, 0.02, 150, 0.20, public=0.40),
    ]
    by_hand = [
        0.40 * 0.50 + 0.25 * 1.00 + 0.10 * 0.0 + 0.15 * 1.00 + 0.10 * 1.00,  # 0.70
        0.40 * 1.00 + 0.25 * 0.50 + 0.10 * 1.0 + 0.15 * 0.50 + 0.10 * 0.50,  # 0.75
        0.40 * 0.75 + 0.25 * 0.00 + 0.10 * 0.5 + 0.15 * 0.00 + 0.10 * 0.75,  # 0.425
        0.40 * 0.00 + 0.25 * 0.75 + 0.10 * 0.8 + 0.15 * 0.75 + 0.10 * 0.00,  # 0.38
    ]
    assert composites(points) == pytest.approx(by_hand)
    assert by_hand == pytest.approx([0.70, 0.75, 0.425, 0.38])
    assert [n for n, _ in ranked(points)] == [1, 0, 2, 3]


def test_without_a_public_score_its_weight_is_shared_out_and_the_sentence_says_so():
    points = [make_point(0.6, 0.1, 100, 0.0), make_point(0.5, 0.0, 200, 0.1)]
    weights = shared_weights(points)
    assert weights == pytest.approx({"validation": 25 / 60, "coverage_gap": 10 / 60, "runtime_s": 15 / 60, "violations": 10 / 60})
    assert composites(points) == pytest.approx([50 / 60, 10 / 60])
    assert "No public score" in weights_sentence(points)


def test_ties_go_by_z_error_then_mae_then_runtime():
    same = {"validation": 0.5, "gap": 0.1, "violations": 0.0}
    by_z = [make_point(**same, runtime=10, z=0.2), make_point(**same, runtime=10, z=0.1)]
    by_mae = [make_point(**same, runtime=10, mae=2e-4), make_point(**same, runtime=10, mae=1e-4)]
    assert [n for n, _ in ranked(by_z)] == [n for n, _ in ranked(by_mae)] == [1, 0]
