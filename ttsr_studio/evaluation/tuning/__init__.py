"""Tuning: which solver, steps, schedule, temperature and guidance suit an engine under a limit of evaluations.

In: an engine, an objective, a limit, full-band clips, and what is varied (`space`).
Out: rows of every setting (`study`: tune.jsonl), their ranking against the engine's default, and the best as a preset
    (`report`: tune.md, tuned.toml).
"""
