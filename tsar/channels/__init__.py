"""Series that belong together, around a model that reads each alone.

`joint` is the door: maps to latent series and back (`adapters`), leading series (`related`), a trained layer
(`attention`).
"""
