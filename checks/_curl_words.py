"""What libcurl's errors mean: in which phase a hop failed, in words, and whether it was us."""

from __future__ import annotations

import errno
import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pycurl

from checks._reach import place, target_fault
from checks._words import limit
from checks.base import HttpRequest

_OURS = frozenset({
    pycurl.E_OUT_OF_MEMORY,
    pycurl.E_BAD_FUNCTION_ARGUMENT,
    pycurl.E_SSL_CACERT_BADFILE,
    pycurl.E_ABORTED_BY_CALLBACK,
    pycurl.E_WRITE_ERROR,
})  # fmt: skip
# OpenSSL's X509_V_ERR_* (x509_vfy.h): the kinds an operator tells apart
_VERIFY_WORDS = {
    9: "certificate is not valid yet",
    10: "certificate has expired",
    18: "certificate is self-signed",
    19: "certificate's issuer is unknown: a self-signed one in its chain",
    20: "certificate's issuer is unknown",
    21: "certificate's issuer is unknown: the server sends no intermediate certificate",
    23: "certificate was revoked",
    62: "certificate is for another host",
    64: "certificate is for another address",
    66: "certificate's key is too weak",
    68: "certificate's signature is too weak",
}
_DURING = {"first byte": "before its answer", "transfer": "in the middle of the body"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HopTimes:
    """Seconds since a hop began until each step was done, 0.0 where it was not reached."""

    connected_s: float
    tls_done_s: float
    first_byte_s: float
    total_s: float


def explain(easy: pycurl.Curl, request: HttpRequest, code: int, times: HopTimes) -> tuple[str, str]:
    """The phase in which the hop failed and what happened, in words. Raises OSError for faults of this machine."""
    phase = _phase(request, times)
    where = _where(easy, request)
    number = easy.getinfo(pycurl.OS_ERRNO)
    if code in _OURS:
        raise OSError(f"libcurl failed: {_said(easy)}")
    if code == pycurl.E_OPERATION_TIMEDOUT:
        return phase, _timed_out(phase, where, times.total_s)
    if phase == "connect":
        if not number:  # not one connection was tried: no file or memory left, or nothing that can be asked
            raise OSError(f"no connection to {where} could be tried: {_said(easy)}")
        return phase, target_fault(number, where)
    if code == pycurl.E_PEER_FAILED_VERIFICATION:
        return "tls", _unverified(easy, request)
    if phase == "tls":
        return phase, f"TLS handshake failed at {where}: {_tls_reason(easy, number)}"
    if code in (pycurl.E_RECV_ERROR, pycurl.E_SEND_ERROR) and number:
        return phase, f"{target_fault(number, where)} {_DURING[phase]}"
    if code == pycurl.E_GOT_NOTHING:
        return phase, f"{where} closed the connection without an answer"
    if code == pycurl.E_PARTIAL_FILE:
        return phase, f"body cut short: {_said(easy)}"
    return phase, f"not proper HTTP from {where}: {_said(easy)}"


def read_certificate(easy: pycurl.Curl) -> tuple[datetime | None, str]:
    """Until when the server's own certificate is valid, and its subject; (None, "") where none was seen."""
    chain = easy.getinfo_raw(pycurl.INFO_CERTINFO)
    fields = {bytes(name): bytes(value) for name, value in chain[0]} if chain else {}
    subject = fields.get(b"Subject", b"").decode("utf-8", "replace")
    try:
        seconds = ssl.cert_time_to_seconds(fields[b"Expire date"].decode("ascii"))
    except (KeyError, ValueError):
        return None, subject
    return datetime.fromtimestamp(seconds, UTC), subject


def port_of(url: str) -> int:
    """The port that the URL leads to."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _phase(request: HttpRequest, times: HopTimes) -> str:
    if not times.connected_s:
        return "connect"
    if not times.tls_done_s and request.url.startswith("https:"):
        return "tls"
    return "transfer" if times.first_byte_s else "first byte"


def _timed_out(phase: str, where: str, total_s: float) -> str:
    after = limit(total_s)
    if phase == "connect":
        return f"connection to {where} timed out after {after}"
    if phase == "tls":
        return f"TLS handshake timed out after {after} at {where}"
    if phase == "first byte":
        return f"no answer from {where} within {after}"
    return f"body not complete after {after}"


def _unverified(easy: pycurl.Curl, request: HttpRequest) -> str:
    said = easy.errstr()
    if "subject name" in said or "does not match" in said or "hostname" in said:  # libcurl's own check of the name
        return f"certificate is for another host, not for {urlsplit(request.url).hostname}"
    words = _VERIFY_WORDS.get(easy.getinfo(pycurl.SSL_VERIFYRESULT))
    return words or f"certificate does not verify: {said}"


def _tls_reason(easy: pycurl.Curl, number: int) -> str:
    said = _said(easy)
    if number == errno.ECONNRESET or "reset by peer" in said.lower():
        return "connection reset"
    if "SSL_ERROR_SYSCALL" in said or "unexpected eof" in said.lower():
        return "the connection was closed"
    return re.sub(r"^.*:(?=[^:]+$)", "", said).strip()  # error:0A00010B:SSL routines::wrong version number


def _said(easy: pycurl.Curl) -> str:
    return str(easy.errstr()).strip()


def _where(easy: pycurl.Curl, request: HttpRequest) -> str:
    """Who was asked: the address that answered, else all that were tried."""
    reached = easy.getinfo(pycurl.PRIMARY_IP)
    if reached or not request.more_addresses:
        return place(reached or request.address, port_of(request.url))
    host = urlsplit(request.url).hostname or ""
    return f"{place(host, port_of(request.url))} ({len(request.more_addresses) + 1} addresses)"
