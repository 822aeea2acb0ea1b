"""Replay: what other searches would have come to, on draws whose scores are kept, at no evaluation of the engine.

In: a score file (rewards.jsonl) of `ttsr evaluate --keep-rewards` (`collect`) or `ttsr render --keep-rewards`, read by
    `score_file`, and policies as the user writes them (`policy`).
Out: what each policy chooses and costs (`selection`, `estimate`), how verifiers' gains last as N grows (`scaling`,
    `overoptimization`) and the N worth its cost (`recommend`): Markdown, scaling.md, scaling.csv, scaling.png.
"""
