"""The laws of each abstraction as suites to subclass: projections, parametrizations, codes, bounds, estimators.

Needs hypothesis and pytest (extra ``test``); nothing else in idbounds imports this package.
"""
