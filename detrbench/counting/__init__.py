"""What a model costs: one trace, the formulas, whose way of counting prints which digits."""
