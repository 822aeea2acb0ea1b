"""The paper's experiments (Jin et al. 2026), run again with whatever verifiers are here.

In: full-band clips of speech, music and sfx, with transcripts, captions and recordings of speakers where known.
Out: rows of every guide and algorithm (`plan`, `run`: paper.jsonl), and Table 1, Table 2 and Figure 2 of them
    (`tables`: table1.md, table1.csv, table2.md, figure2.png).
"""
