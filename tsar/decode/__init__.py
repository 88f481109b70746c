"""Model -> distribution, in every way there is.

`panel` is the stage of the flow: quantiles for any horizon, series by series or across channels. Beside it stand
`horizons` (heads of several lengths), `token_rollout` (vocabularies), `token_draft` and `patch_draft` (drafts that a
large model verifies), `rollout` (sample paths fed back), `rolling` (many cutoffs at once), `stream` (one token a
value), and what stands inside a series: `infill` (full attention) and `middle` (a causal model that reads both sides).
"""

from tsar.decode.panel import decode, decode_panel

__all__ = ["decode", "decode_panel"]
