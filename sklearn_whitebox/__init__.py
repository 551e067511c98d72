"""White-box representation learning with the scikit-learn contract."""
