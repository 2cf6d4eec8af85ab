"""What a reload changes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dashboard.model import BrokenCheck, Check, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The ids of the checks that come, go and change, and what waits for a restart, a sentence each."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not (self.added or self.removed or self.changed or self.needs_restart)


def diff(old: Settings, new: Settings) -> Difference:
    """What becomes different, in the order of the new file; checks that are gone in the order of the old one."""
    before, after = _by_id(old), _by_id(new)
    pinned = (
        ("server.host", old.server.host, new.server.host),
        ("server.port", old.server.port, new.server.port),
        ("server.access", old.server.access, new.server.access),
        ("the data directory", old.data, new.data),
    )
    return Difference(
        added=tuple(check_id for check_id in after if check_id not in before),
        removed=tuple(check_id for check_id in before if check_id not in after),
        changed=tuple(check_id for check_id in after if check_id in before and after[check_id] != before[check_id]),
        needs_restart=tuple(
            f"{name} stays {was} until Watchroom is restarted; the file now says {now}"
            for name, was, now in pinned
            if was != now
        ),
    )


def until_restart(old: Settings, new: Settings) -> Settings:
    """The new settings with what a running server cannot change as it is: whoever could reach it still can."""
    kept = old.server
    server = replace(new.server, host=kept.host, port=kept.port, access=kept.access)
    return replace(new, server=server, data=old.data)


def _by_id(settings: Settings) -> dict[str, Check | BrokenCheck]:
    every: tuple[Check | BrokenCheck, ...] = (*settings.checks, *settings.broken)
    return {check.id: check for check in every}
