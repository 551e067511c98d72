"""What an iterative solver returns."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SolverResult:
    """Solution of an iterative algorithm and how it was reached.

    Parameters
    ----------
    solution : object
        Array, or a dictionary of arrays, as the solver documents.
    n_iter : int
        Iterations done.
    converged : bool
        Whether the stop rule was met before the iterations ran out.
    objective : list of float
        Objective after each iteration.
    gap : float or None
        Certificate of optimality, where the solver has one.
    """

    solution: Any
    n_iter: int
    converged: bool
    objective: list[float] = field(default_factory=list)
    gap: float | None = None
