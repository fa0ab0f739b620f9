"""Files: upload, download, thumbnails; a peer's file is fetched once and kept.

Spec: client-server-api#content-repository
"""

from homeserver.media.files import MediaFiles
from homeserver.media.library import Media, MediaSettings, Served
from homeserver.media.remote import RemoteFiles

__all__ = ["Media", "MediaFiles", "MediaSettings", "RemoteFiles", "Served"]
