"""Distribution -> distribution: what the whole history, other series and other methods say beside the model.

`history` looks at the series as a whole, `seasonal` follows periods that the model misses, `context` what followed
similar windows, `ensemble` mixes with the methods of `classical`. Each acts only where it forecasts the past better.
"""
