"""Evaluation: full-band clips in, tables and curves out; every system is measured by the same code.

Four products, a room each, and two that serve them:

- benchmark: how near do systems come to the truth? It also holds clips, low-passes and metrics, which all others use.
- verifier_study: do verifiers, and the candidates' disagreement, know which render is near to the truth?
- replay: what would other searches have come to on scores that are kept, and for how long does drawing more pay?
- paper: the tables and the figure of the paper, again.
- tuning: which sampler settings suit an engine?
- reporting: intervals, tables and figures. sweep: cases in, rows out, nothing measured twice.

Nothing here prints or exits: what happens on the way goes to a `sweep.Reporter`.
"""
