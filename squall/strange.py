"""What a canary says to a server whose protocol is not known, or not readable: any answer will do. Pure, no sockets."""

import ssl
from contextlib import suppress
from dataclasses import dataclass


@dataclass(slots=True)
class Stranger:
    """A few bytes that make most servers say something: a complaint, or the beginning of a handshake.

    A server that only closes has not answered; then nothing can be felt, and the run says so.
    """

    opening: bytes
    begun: bool = False
    failed: bool = False
    status: int | None = None
    sensed: float | None = None

    @classmethod
    def lines(cls) -> "Stranger":
        """Return two empty lines."""
        return cls(b"\r\n\r\n")

    @classmethod
    def tls(cls) -> "Stranger":
        """Return the greeting of a TLS client; the server's first words are answer enough."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with suppress(ssl.SSLWantReadError):  # it has spoken and waits for the server
            context.wrap_bio(incoming, outgoing).do_handshake()
        return cls(outgoing.read())

    def hear(self, data: bytes) -> bytes | None:
        """Take the first bytes for the answer."""
        del data
        self.begun = True
        return None

    def ended(self) -> bool:
        """Return False: a close is not an answer."""
        return False
