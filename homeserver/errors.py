"""Everything that can go wrong, in Matrix terms. Knows no HTTP: `api/errors.py` adds the status.

Each class names what happened; its docstring is the sentence the user reads unless the place
that raises it has a better one. `errcode` is the Matrix error code clients act on.
"""

from typing import Any, ClassVar


class HomeserverError(Exception):
    """Something went wrong."""

    errcode: ClassVar[str] = "M_UNKNOWN"

    def __init__(self, message: str | None = None, **extra: Any) -> None:
        """`extra` becomes further fields of the answer, such as `retry_after_ms`."""
        super().__init__(message or (type(self).__doc__ or "").strip())
        self.extra = extra


class BadJson(HomeserverError):
    """The request's JSON does not have the expected form."""

    errcode = "M_BAD_JSON"


class NotJson(HomeserverError):
    """The request's body is not JSON."""

    errcode = "M_NOT_JSON"


class InvalidParam(HomeserverError):
    """A parameter has a value that is not allowed."""

    errcode = "M_INVALID_PARAM"


class MissingParam(HomeserverError):
    """A required parameter is missing."""

    errcode = "M_MISSING_PARAM"


class NotFound(HomeserverError):
    """There is nothing by that name."""

    errcode = "M_NOT_FOUND"


class Unrecognized(HomeserverError):
    """This server does not know that request."""

    errcode = "M_UNRECOGNIZED"


class WrongMethod(HomeserverError):
    """This address does not take that method."""

    errcode = "M_UNRECOGNIZED"


class Forbidden(HomeserverError):
    """You may not do that."""

    errcode = "M_FORBIDDEN"


class NotInRoom(Forbidden):
    """You are not in that room."""


class NotAllowed(Forbidden):
    """The room's rules do not allow that."""


class InviteBlocked(Forbidden):
    """That person takes no invitations."""

    errcode = "M_INVITE_BLOCKED"


class UnknownToken(HomeserverError):
    """The access token is not known. Log in again."""

    errcode = "M_UNKNOWN_TOKEN"


class MissingToken(HomeserverError):
    """This request needs an access token."""

    errcode = "M_MISSING_TOKEN"


class WrongPassword(HomeserverError):
    """Wrong user name or password."""

    errcode = "M_FORBIDDEN"


class LimitExceeded(HomeserverError):
    """Too many requests. Try again later."""

    errcode = "M_LIMIT_EXCEEDED"

    def __init__(self, retry_after_ms: int, message: str | None = None) -> None:
        """Say when to come back, in milliseconds."""
        super().__init__(message, retry_after_ms=retry_after_ms)
        self.retry_after_ms = retry_after_ms


class StorageFull(HomeserverError):
    """The server's disk is full. This was not kept; everything from before is. Make room there."""


class TooLarge(HomeserverError):
    """That is too large."""

    errcode = "M_TOO_LARGE"


class UnsupportedRoomVersion(HomeserverError):
    """This server does not know that room version."""

    errcode = "M_UNSUPPORTED_ROOM_VERSION"


class InvalidRoomState(HomeserverError):
    """No room can have the state that was asked for."""

    errcode = "M_INVALID_ROOM_STATE"


class BadAlias(HomeserverError):
    """An alias does not lead to this room."""

    errcode = "M_BAD_ALIAS"


class DuplicateAnnotation(HomeserverError):
    """You have reacted in the same way already."""

    errcode = "M_DUPLICATE_ANNOTATION"


class AliasInUse(HomeserverError):
    """That alias is taken already."""

    errcode = "M_ROOM_IN_USE"


class BadEvent(HomeserverError):
    """That is not a valid event."""

    errcode = "M_BAD_JSON"


class BadSignature(HomeserverError):
    """A signature is missing or wrong."""

    errcode = "M_FORBIDDEN"


class PeerUnreachable(HomeserverError):
    """The other server cannot be reached at the moment."""

    errcode = "M_NOT_FOUND"


class PeerRefused(HomeserverError):
    """The other server said no."""

    errcode = "M_FORBIDDEN"


class PeerHasNone(PeerRefused):
    """The other server knows of no such thing."""

    errcode = "M_NOT_FOUND"


class PeerFileTooLarge(HomeserverError):
    """The other server's file is larger than this server takes."""

    errcode = "M_TOO_LARGE"


class PeerFileBroken(HomeserverError):
    """The other server did not send the whole file."""


class NotYetUploaded(HomeserverError):
    """The file has not been uploaded yet."""

    errcode = "M_NOT_YET_UPLOADED"


class NotConnected(HomeserverError):
    """Your server is not connected to that person's server. Invite them to connect first."""

    errcode = "M_FORBIDDEN"


class UserInteractionRequired(HomeserverError):
    """Further authentication is needed."""

    errcode = "M_FORBIDDEN"


class Conflict(HomeserverError):
    """That clashes with what is there already."""

    errcode = "M_UNKNOWN"


class InvalidSignature(HomeserverError):
    """A key or a signature that a client uploaded is not signed as it must be."""

    errcode = "M_INVALID_SIGNATURE"


class WrongBackupVersion(Forbidden):
    """That is not the current key backup."""

    errcode = "M_WRONG_ROOM_KEYS_VERSION"

    def __init__(self, *, current_version: str) -> None:
        """Say which version is the current one."""
        super().__init__(None, current_version=current_version)


class SetByServer(HomeserverError):
    """That account data is kept by the server and cannot be set here."""

    errcode = "M_BAD_JSON"


class ProfileTooLarge(HomeserverError):
    """A whole profile must be smaller than 64 KiB."""

    errcode = "M_PROFILE_TOO_LARGE"


class KeyTooLarge(HomeserverError):
    """The name of a profile field may have at most 255 bytes."""

    errcode = "M_KEY_TOO_LARGE"
