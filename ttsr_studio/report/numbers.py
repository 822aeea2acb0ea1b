"""Numbers as people write them."""


def time_words(seconds: float) -> str:
    """Seconds as people write them: 0.4 s, 45 s, 2 min 5 s, 12 min, 1 h 20 min, 3 days."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    return f"{round(minutes / (24 * 60))} days"


def roughly(seconds: float) -> str:
    """The same of a guess, as exact as one can be: a few seconds, about 2 min 15 s."""
    if seconds < 5:
        return "a few seconds"
    step = 1 if seconds < 20 else 5 if seconds < 100 else 15 if seconds < 600 else 60
    whole = step * round(seconds / step)
    return f"about {time_words(whole) if whole > 9 else f'{whole} s'}"
