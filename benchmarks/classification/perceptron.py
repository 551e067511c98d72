"""A perceptron trained by skorch, for those who would write their own network.

skorch has no default network: two hidden layers of 256, Adam and early stopping on a
held-out fifth are what its users commonly start from.
"""

import numpy as np
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping


class Perceptron(torch.nn.Module):
    """Two hidden layers."""

    def __init__(self, n_classes, width=256, dropout=0.1):
        super().__init__()
        layers = []
        for _ in range(2):
            layers += [
                torch.nn.LazyLinear(width),
                torch.nn.ReLU(),
                torch.nn.Dropout(dropout),
            ]
        self.layers = torch.nn.Sequential(*layers, torch.nn.LazyLinear(n_classes))

    def forward(self, X):
        """Logits of the classes."""
        return self.layers(X)


class PerceptronClassifier(NeuralNetClassifier):
    """Takes float64 rows and learns the number of classes from the labels."""

    def __init__(self, *args, seed=0, **settings):
        self.seed = seed
        super().__init__(*args, **settings)

    def fit(self, X, y, **settings):
        """Fit with a network as wide at the end as there are classes."""
        torch.manual_seed(self.seed)
        self.set_params(module__n_classes=len(np.unique(y)))
        return super().fit(np.asarray(X, dtype=np.float32), y, **settings)

    def predict_proba(self, X):
        """Probabilities of the classes."""
        if isinstance(X, np.ndarray):  # the held-out rows come as a data set
            X = X.astype(np.float32)
        return super().predict_proba(X)


def make_perceptron(seed):
    """Return an unfitted classifier."""
    return PerceptronClassifier(
        Perceptron,
        module__n_classes=2,
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        batch_size=128,
        max_epochs=200,
        callbacks=[EarlyStopping(patience=16, load_best=True)],
        iterator_train__shuffle=True,
        verbose=0,
        seed=seed,
    )
