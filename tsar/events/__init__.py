"""Event sequences: which kind of event comes next, and when; see `tsar.events.forecaster`."""
