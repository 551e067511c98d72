"""Pure functions on tensors and arrays: no state, no hidden randomness, no I/O."""
