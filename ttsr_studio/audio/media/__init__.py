"""Files that soundfile does not write: video with new audio, and audio in the codecs of players, through PyAV."""
