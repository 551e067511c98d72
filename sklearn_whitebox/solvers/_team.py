"""What training asks of the other processes that train the same network."""

import torch
from torch import Tensor, nn


class Team:
    """Processes that train one network together; here there is no other.

    A team of several processes has methods of its own in the place of these. All its
    members must call them in the same order.
    """

    rank = 0
    size = 1

    def mean(self, value: float) -> float:
        """Give the mean of what all processes give.

        Parameters
        ----------
        value : float
            A number.

        Returns
        -------
        mean : float
            The same for all.
        """
        return value

    def largest(self, value: float) -> float:
        """Give the largest of what all processes give.

        Parameters
        ----------
        value : float
            A number.

        Returns
        -------
        largest : float
            The same for all.
        """
        return value

    def share(self, n_rows: int) -> tuple[slice, float]:
        """Tell which rows of a batch this process computes.

        Parameters
        ----------
        n_rows : int
            Rows of the batch.

        Returns
        -------
        part : slice
            Which of them; at least one.
        scale : float
            What to multiply the mean of their losses with, so that its mean over all
            processes is the mean of all rows; zero for a row that another one counts.
        """
        return slice(0, n_rows), 1.0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Make the gradients of a module the means over all processes.

        Parameters
        ----------
        module : Module
            On its device.

        Returns
        -------
        wrapped : Module
            To be called in its place where gradients are wanted.
        """
        return module

    def gather(self, part: Tensor, n_rows: int) -> Tensor:
        """Put together what all processes computed for their shares.

        Parameters
        ----------
        part : Tensor of shape (n_part, ...)
            Results for the rows of :meth:`share`.
        n_rows : int
            Rows of all.

        Returns
        -------
        whole : Tensor of shape (n_rows, ...)
            Results in the order of the rows, the same for all.
        """
        return part

    def generator(self, device: torch.device | str = "cpu") -> torch.Generator:
        """Make a generator that draws the same for a row, whoever computes it.

        Parameters
        ----------
        device : str or device, default="cpu"
            Where to draw.

        Returns
        -------
        generator : Generator
            Not seeded yet.
        """
        return torch.Generator(device=device)


ALONE = Team()
