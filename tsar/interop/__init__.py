"""Tsar in other people's houses: one module for each library, imported only when it is asked for.

`tsar.interop.sktime`, `tsar.interop.gluonts`, `tsar.interop.fev`, `tsar.interop.nixtla`, `tsar.interop.huggingface` and
`tsar.interop.windows` (scikit-learn). Each turns the library's data into a long frame, asks a `Forecaster`, and turns
the answer back; it forecasts the numbers that the `Forecaster` does. See docs/interop.md.
"""
