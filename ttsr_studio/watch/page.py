from contextlib import contextmanager


@contextmanager
def serve_page(tree, host, port):
    yield ""
