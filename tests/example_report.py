"""A report made up of plausible values."""

import numpy as np

from ttsr_studio.analysis.uncertainty import UncertaintySummary
from ttsr_studio.report.file_records import InputInfo, OutputInfo
from ttsr_studio.report.schema import AnnotationsRecord, Report, Timing, ToolInfo, VerifierInfo
from ttsr_studio.report.search_records import CandidateRecord, Gains, NBestRecord, ScoreRecord, WindowRecord

RATE = 48000
SHA = "0123456789abcdef" * 4


def report(
    seconds: float = 2.0, *, names: tuple[str, ...] = ("continuity", "dnsmos"), windows: int = 2, count: int = 4
) -> Report:
    frames = int(seconds * RATE)
    rng = np.random.default_rng(0)
    width = seconds / windows
    records = [
        WindowRecord(
            index=i,
            start_s=i * width,
            stop_s=(i + 1) * width,
            candidates=[
                CandidateRecord({"seed": 7, "window": i, "draw": k}, {n: rng.normal() for n in names}, k / count)
                for k in range(count)
            ],
            chosen=count - 1,
            reason="highest combined score",
        )
        for i in range(windows)
    ]
    return Report(
        tool=ToolInfo("ttsr", "0.1.0", "builtin", {"w.safetensors": SHA}, "speech", {"n": count}, 7, "cpu", 8),
        input=InputInfo(
            "take $5 – ü.wav",
            SHA,
            RATE,
            "PCM_24",
            1,
            frames,
            -23.04,
            -3.0,
            4000.0,
            (3000.0, 4000.0),
            "level falls 60 dB",
        ),
        output=OutputInfo("take.wav", SHA, RATE, "PCM_24", 1, frames, -23.0, -2.9, 0.1, "loudness of the input"),
        verifiers={name: VerifierInfo("dB", {}, "no weights") for name in names},
        windows=records,
        timing=Timing(windows * count * 6, seconds, 2.0, {"network": 1.0, "write": 0.5}, times_real_time=seconds / 2),
        uncertainty=UncertaintySummary(2.5, (2.0, 3.0)),
        search_range=0.3,
        scores={name: ScoreRecord("search", "window", -1.0, -0.5, -0.6, -0.2, 1.5) for name in names},
        gains=Gains(1.5, None, None),
        n_best=[NBestRecord({"wer/WER": -0.1}, 0.5, True)],
        annotations=AnnotationsRecord("some words", None, ("speech",), 1, {"wer": "transcript: given"}),
    )
