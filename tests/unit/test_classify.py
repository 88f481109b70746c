"""Classifier and regressor: scikit-learn's own checks, and what they can tell apart."""

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from tsar import TimeSeriesClassifier, TimeSeriesRegressor
from tsar.errors import OptionError
from tsar.tasks.classify import series_from_frame


@pytest.mark.slow
@parametrize_with_checks(
    [
        TimeSeriesClassifier(length=16),
        TimeSeriesClassifier(length=16, head="logistic"),
        TimeSeriesRegressor(length=16),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
