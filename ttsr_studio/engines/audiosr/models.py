"""AudioSR's weights, and how `ttsr models` makes its folder of them."""

from ttsr_studio.weights.registry import Model


def _audiosr(name: str, repository: str, about: str) -> Model:
    converter, files = "ttsr_studio.engines.audiosr.checkpoint:convert", ("pytorch_model.bin",)
    return Model(
        name, "engine", repository, files, 6_180_000_000, "MIT", about, converter, 1_350_000_000, "audiosr"
    )  # fmt: skip


AUDIOSR_MODELS = {
    model.name: model
    for model in (
        _audiosr("audiosr-basic", "haoheliu/audiosr_basic", "AudioSR for any audio (Liu et al. 2024)"),
        _audiosr("audiosr-speech", "haoheliu/audiosr_speech", "AudioSR tuned on speech (Liu et al. 2024)"),
    )
}
