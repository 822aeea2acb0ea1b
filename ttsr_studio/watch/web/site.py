"""What the parts of the page share."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ttsr_studio.errors import shown
from ttsr_studio.watch.context import ServiceContext
from ttsr_studio.watch.filesystem.instance_lock import instance_of
from ttsr_studio.watch.filesystem.root import Root
from ttsr_studio.watch.web.inspector import Inspector
from ttsr_studio.watch.web.landing import Landing
from ttsr_studio.watch.web.options import PageOptions
from ttsr_studio.watch.web.token import Token
from ttsr_studio.watch.web.uploads import Upload, Uploads
from ttsr_studio.watch.web.view import StatusBoard


@dataclass
class Site:
    """What the parts of the page share.

    Attributes:
        token: by which those who may change things are known.
        lengths: seconds and channels of uploads, by number, as far as they were asked for.
    """

    context: ServiceContext
    page: PageOptions
    root: Root
    board: StatusBoard
    uploads: Uploads
    landing: Landing
    inspector: Inspector
    token: Token
    lengths: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, context: ServiceContext, page: PageOptions) -> "Site":
        """The page of a service. Raises OptionError where its token cannot be kept to itself."""
        root, policy = context.root, context.options.policy
        token = Token(root.state)
        uploads = Uploads(root, policy.keep_free)
        uploads.sweep()
        log = root.state / f"{instance_of(context.owner)}-page.log"
        board = StatusBoard(root, page.local, context.options.jobs)
        landing, inspector = Landing(context, uploads), Inspector(log, policy)
        return cls(context, page, root, board, uploads, landing, inspector, token)

    def told_upload(self, upload: Upload) -> dict[str, Any]:
        """An upload as the page has it."""
        told = asdict(upload) | {"file": shown(Path(upload.folder, upload.name))}
        return told | self.lengths.get(upload.id, {"seconds": None, "channels": None, "reason": None})
