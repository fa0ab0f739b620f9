"""What a file is called and what it is, as its uploader said: untrusted, made harmless here."""

import re

_FILENAME_LIMIT = 255
_CONTENT_TYPE = re.compile(r"[\w.+-]{1,100}/[\w.+-]{1,100}(;[ -~]{0,100})?", re.ASCII)


def clean_content_type(content_type: str) -> str:
    """The declared type, or `application/octet-stream` where it has no proper form."""
    content_type = content_type.strip()
    return content_type if _CONTENT_TYPE.fullmatch(content_type) else "application/octet-stream"


def clean_filename(filename: str | None) -> str | None:
    """The file's name without control characters and lone surrogates, at most 255 characters."""
    if filename is None:
        return None
    kept = "".join(c for c in filename if c.isprintable())[:_FILENAME_LIMIT]
    return kept or None
