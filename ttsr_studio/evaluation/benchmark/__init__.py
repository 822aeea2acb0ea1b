"""The benchmark: how near systems come to the truth, and at what cost.

In: full-band clips (`dataset`), a fixed low-pass that makes inputs of them (`degradation`), systems that answer
    (`systems`, written as in `system_spec`).
Out: a row for every system, clip and cutoff (`runner`: results.jsonl), tables and curves of them (`report`: tables.md,
    tables.csv, curves/) and contact sheets (`pictures`).
"""
