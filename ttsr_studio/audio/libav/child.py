"""Decode one file, in a process of its own: what a broken file does to a decoder ends here.

`python -m ttsr_studio.audio.libav.child PATH STREAM MODE`; MODE is "count" or "read", or either with "+salvage".
What comes out on standard output are messages: a kind (one byte), a length (four), and so many bytes:

- `H`: JSON, what the file holds, before anything else;
- `P`: samples so far (eight bytes), now and then, so that the parent knows that it goes on;
- `A`: samples of one frame, as the decoder gives them; `Z`: eight bytes, a number of samples of silence;
- `E`: JSON, how it ended.
"""

import os
import signal
import sys

import av
from av.stream import Discard

from ttsr_studio.audio.libav.answers import Answers
from ttsr_studio.audio.libav.contents import SECRET, Refused, listed, log, opened, others, secret
from ttsr_studio.audio.libav.decoding import Decoding


def decode(path: str, index: int, answers: Answers, salvage: bool) -> None:
    """Decode a stream of a file, by its index among all streams; -1 only lists them."""
    container = opened(path)
    with container:
        streams = listed(container)
        if index < 0:
            return answers.tell(b"L", {"streams": streams, **others(container)})
        stream = next(each for each in container.streams.audio if each.index == index)
        for other in container.streams:
            if other.index != index:
                other.discard = Discard.all
        if secret(stream):
            raise Refused("encrypted")
        if stream.codec_context is None:
            raise Refused("no decoder")
        stream.codec_context.options = {"err_detect": "crccheck"}
        stream.codec_context.thread_count = 1
        decoding = Decoding(container, stream, answers, salvage)
        decoding.run()
        if any(SECRET.search(line) for line in log()):
            raise Refused("encrypted")
        answers.tell(b"E", decoding.ending())


def main() -> None:
    path, index, mode = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    av.logging.restore_default_callback()
    av.logging.set_libav_level(av.logging.ERROR)
    answers = Answers(count=mode.startswith("count"))
    try:
        decode(path, int(index), answers, mode.endswith("+salvage"))
    except Refused as refusal:
        answers.tell(b"R", {"reason": str(refusal)})
    except BrokenPipeError:
        os._exit(0)  # the parent has what it wanted


if __name__ == "__main__":
    main()
