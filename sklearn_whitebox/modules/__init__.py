"""Network modules in plain torch, usable without scikit-learn."""
