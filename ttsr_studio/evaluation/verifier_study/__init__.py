"""The study of verifiers: whether scores, and the candidates' disagreement, tell which render is near to the truth.

In: full-band clips, and verifiers by name.
Out: how much of what a window's candidates offer a verifier finds (`accuracy`: judges.jsonl, judges.md), whether
    uncertainty is true (`calibration`: uncertainty.jsonl, uncertainty.md), and scores of finished files (`score_files`,
    for `ttsr score`).
"""
