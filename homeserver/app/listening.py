"""Listen for HTTP; to what is no HTTP say nothing: no name of ours, no reason, no log line."""

from aiohttp import HttpVersion11, web, web_protocol

from federation.transport import http
from homeserver import metrics


class Listening(web.AppRunner):
    """Runs an application like aiohttp's own, but for what cannot be read as a request."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,  # noqa: SLF001 - aiohttp offers no other way to choose the protocol
        )


class _Server(web.Server):
    def __call__(self) -> web_protocol.RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class _Protocol(web_protocol.RequestHandler):
    __slots__ = ()

    def log_exception(self, *_words: object, **_options: object) -> None:
        """Count what comes here: only what a request's sender broke, not what a handler did."""
        metrics.bump("malformed_requests")

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Give the refusal that every stranger gets, and close the connection."""
        del status, exc, message
        metrics.bump("malformed_requests")
        if request.writer.output_size > 0:
            raise ConnectionError("the answer had begun")
        request._version = HttpVersion11  # noqa: SLF001 - what could not be read has no version
        refusal = _Refusal(
            status=http.REFUSAL_STATUS, body=http.REFUSAL_BODY, content_type="text/plain"
        )
        refusal.force_close()
        return refusal


class _Refusal(web.Response):
    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        for name in ("Server", "Date"):
            self.headers.popall(name, None)
