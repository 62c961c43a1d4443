"""Short questions over HTTP."""

from __future__ import annotations

from typing import Any

import requests

from stack.errors import StackError

ANSWER_SECONDS = 5.0


class UnreachableError(StackError):
    """Report a server that does not answer HTTP."""


def ask(
    method: str, url: str, credentials: tuple[str, str] | None = None, **arguments: Any
) -> requests.Response:
    """Send one request, as nobody if no credentials are given; any status is an answer.

    Args:
        method: HTTP method.
        url: Where to send it.
        credentials: User and password for basic authentication.
        **arguments: Handed to `requests.request`.

    Raises:
        UnreachableError: There was no answer.
    """
    try:
        return requests.request(
            method,
            url,
            # Without this, requests would take credentials from the .netrc of the shell.
            auth=credentials or _unchanged,
            timeout=ANSWER_SECONDS,
            allow_redirects=False,
            **arguments,
        )
    except requests.exceptions.SSLError as error:
        raise UnreachableError(
            f"{url}: its certificate must be trusted, got {_cause(error)}. Set REQUESTS_CA_BUNDLE, "
            "AWS_CA_BUNDLE and SSL_CERT_FILE to the authority's certificates."
        ) from error
    except requests.Timeout as error:
        raise UnreachableError(f"{url}: no answer within {ANSWER_SECONDS:.0f} s.") from error
    except requests.ConnectionError as error:
        raise UnreachableError(f"{url}: no connection, {_cause(error)}.") from error


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _cause(error: BaseException) -> str:
    """Name the innermost error, without the layers that wrapped it."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return " ".join(str(error).split())
