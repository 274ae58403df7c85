"""Values, units, formulas and state machines: no Qt, no input or output, no threads."""
