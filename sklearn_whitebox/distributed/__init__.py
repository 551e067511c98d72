"""One network on several processes and GPUs: the rows of every batch are shared.

Every process of ``torchrun`` calls :func:`fit_distributed`, or the command line
``python -m sklearn_whitebox.distributed`` does so.
"""

from sklearn_whitebox.distributed._fit import fit_distributed

__all__ = ["fit_distributed"]
