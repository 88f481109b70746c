"""Pretraining: data, objective, optimizer, loop."""
