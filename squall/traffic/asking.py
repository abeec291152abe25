"""A Locust user with a connection of its own: it sends one request and keeps its row, however that ends."""

from locust import User

from squall.traffic.connection import Connection
from squall.traffic.messages import Sender, message
from squall.traffic.rows import Rows
from squall.traffic.tickets import Ticket


class AskingUser(User):
    """Sends tickets over one connection; a request that is cut off is a row too."""

    abstract = True
    rows: Rows
    sender: Sender

    def on_start(self) -> None:
        """Make the user's own connection; it is opened with the first request."""
        self.connection = Connection(self.sender.host, self.sender.port)
        self._ticket: Ticket | None = None  # in hand
        self._sent: float | None = None  # when it was sent, None before

    def on_stop(self) -> None:
        """Keep the row of a request that the end of the run cut off, or held back although it was due."""
        self.connection.close()
        ticket, now = self._ticket, self.rows.now()
        if ticket is not None and self._sent is not None:
            self.rows.arrive(ticket.row(self._sent, now, "cancelled"))
        elif ticket is not None and ticket.due is not None and ticket.due <= now:
            self.rows.never_sent(ticket.row(None, None, "unsent"))

    def send(self, ticket: Ticket) -> None:
        """Send one request, wait for its fate until its deadline, and keep its row."""
        now = self.rows.now()
        until = (now if ticket.due is None else ticket.due) + ticket.deadline
        data = message(
            ticket.operation, self.sender, ticket.lid, key=ticket.key, drawn=ticket.drawn, deadline=until - now
        )
        self._ticket, self._sent = ticket, self.rows.leave()
        outcome, answer = self.connection.ask(data, until - self._sent)
        self.rows.arrive(ticket.row(self._sent, self.rows.now(), outcome, answer))
        self._ticket = self._sent = None
