"""One report against another: the gate, differences, history, what CI services read."""
