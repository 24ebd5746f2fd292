"""Pages are made of the evaluations that the scoring is tested with."""

from tests.evaluation.conftest import benchmark_root, make_result

__all__ = ["benchmark_root", "make_result"]
