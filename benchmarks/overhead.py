"""How much of a render is not the model's or the verifiers' own work: `python benchmarks/overhead.py FILE`.

Bar: wall time <= 1.25 x (NFE x bare batched network time + decode + verifiers), all measured in this one run. The bare
network is `engine.denoise` alone on the same rows and frames, in a loop.
"""

import json
import tempfile
import time
from pathlib import Path

import click
import torch

from ttsr_studio.audio.decode import probe
from ttsr_studio.audio.windows import even_core, plan_windows
from ttsr_studio.diffusion.noise import NoiseKey
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.inference.windows import FADE_SECONDS
from ttsr_studio.rendering.pipeline import render
from ttsr_studio.rendering.request import RenderRequest


def bare_seconds_per_row(session: Session, samples: int, rows: int, repeats: int = 3) -> float:
    """Seconds of one network evaluation of one row, in batches of `rows`."""
    engine = session.engine
    conditioning = engine.condition(
        0.1 * torch.randn(1, 1, samples + 2 * engine.lookaround), torch.tensor([[6000.0]]), [NoiseKey(0)]
    )
    batch = conditioning.rows(torch.zeros(rows, dtype=torch.int64))
    x, sigma = engine.start(torch.randn(rows, *engine.noise_shape(samples)), 1.0), torch.full((rows,), 2.0)
    engine.denoise(x, sigma, batch)
    began = time.perf_counter()
    for _ in range(repeats):
        engine.denoise(x, sigma, batch)
    return (time.perf_counter() - began) / repeats / rows


@click.command()
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--candidates", default=16, show_default=True)
@click.option("--verifier", "verifiers", multiple=True, default=["continuity"], show_default=True)
@click.option("--repeats", default=3, show_default=True)
def main(file: Path, candidates: int, verifiers: tuple[str, ...], repeats: int) -> None:
    """Print the ratio for FILE, reports included."""
    session = Session(RenderOptions(candidates=candidates, verifiers=verifiers))
    rate, info = session.engine.sample_rate, probe(file)
    frames = -(-info.frames * rate // info.rate)
    core = even_core(frames, round(session.engine.core_seconds * rate), round(FADE_SECONDS * rate))
    context = round(session.engine.context_seconds * rate)
    window = plan_windows(frames, core, context, round(FADE_SECONDS * rate), session.engine.hop)[0]
    for _ in range(repeats):
        bare = bare_seconds_per_row(session, window.render_stop - window.render_start, session.rows)
        with tempfile.TemporaryDirectory() as folder:
            result = render(session, RenderRequest(file, Path(folder) / "out.wav")).summary
        stages = result["stages"]
        ideal = result["nfe"] * bare + stages["decode"] + stages["verify"]
        figures = {
            "ratio": round(result["seconds"] / ideal, 3),
            "wall_s": round(result["seconds"], 2),
            "nfe": result["nfe"],
            "bare_network_s": round(result["nfe"] * bare, 2),
            **{stage: round(seconds, 2) for stage, seconds in stages.items()},
        }
        click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()
