"""Many series on many machines: one pure function for a partition, and thin faces for Ray, Spark and Dask.

Partitions go in and partitions come out. No partition knows of another, so what would have to be learned or inferred
from all of them is asked for instead: the frequency and the prediction length. See docs/many_series.md.
"""

from tsar.distributed.dask_frame import forecast_dask
from tsar.distributed.partition import empty_forecast, forecast_partition
from tsar.distributed.ray_data import forecast_ray
from tsar.distributed.spark_frame import forecast_spark

__all__ = ["empty_forecast", "forecast_dask", "forecast_partition", "forecast_ray", "forecast_spark"]
