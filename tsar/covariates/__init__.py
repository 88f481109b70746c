"""Covariates for a model that reads the target alone: what they hold beyond expectation explains its errors.

`surprise` backtests the model on target and covariates, `regression` explains the errors, `effect` guards and applies.
"""

from tsar.covariates.effect import METHODS, CovariateEffect, apply_effect, learn_effect

__all__ = ["METHODS", "CovariateEffect", "apply_effect", "learn_effect"]
