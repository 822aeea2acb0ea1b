"""Schedules by name. A new one is a function in `schedules` and one line in `SCHEDULES`; it is imported on use."""

SCHEDULES = {
    "edm": "ttsr_studio.diffusion.schedules:edm",
    "linear": "ttsr_studio.diffusion.schedules:linear",
    "quadratic": "ttsr_studio.diffusion.schedules:quadratic",
    "cosine": "ttsr_studio.diffusion.schedules:cosine",
    "linear-logsnr": "ttsr_studio.diffusion.schedules:linear_logsnr",
    "log-linear": "ttsr_studio.diffusion.schedules:linear_logsnr",
}
SPACINGS = ("leading", "trailing")
"""How a model with a table of timesteps visits them, see `timesteps`."""
