"""Training sets, candidates, and the search for their parameters.

``include.steps.training`` calls it; ``association`` also serves reports and first looks at data.
"""
