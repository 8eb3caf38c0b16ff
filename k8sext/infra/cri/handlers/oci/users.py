"""Who a container runs as: numbers from the request, or names looked up in the image's own /etc/passwd and
/etc/group."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.grpc import invalid_argument

LARGEST_FILE = 1 << 20
LARGEST_ID = 2**31 - 1


class User(NamedTuple):
    """User and group ids of a process, further groups, and the home folder."""

    uid: int
    gid: int
    groups: frozenset[int]
    home: str


def user_of(security: api.LinuxContainerSecurityContext, image_user: str, root: Path, real_root: bool) -> User:
    """Return who a container runs as; raise StatusError for a name the image does not know, or ids that we do not
    have."""
    uid, gid = _asked(security, image_user)
    accounts = [line.split(":") for line in _lines(root, "passwd")]
    accounts = [
        account for account in accounts if len(account) >= 7 and is_number(account[2]) and is_number(account[3])
    ]
    account = next((one for one in accounts if uid in (one[0], one[2])), None)
    if account is None and not is_number(uid):
        raise invalid_argument(f"the image knows no user {uid!r}: give runAsUser as a number")
    memberships = [line.split(":") for line in _lines(root, "group")]
    memberships = [group for group in memberships if len(group) >= 4 and is_number(group[2])]
    if gid and not is_number(gid):
        named = next((group[2] for group in memberships if group[0] == gid), None)
        if named is None:
            raise invalid_argument(f"the image knows no group {gid!r}: give runAsGroup as a number")
        gid = named
    number = int(account[2]) if account else int(uid)
    group = int(gid) if gid else int(account[3]) if account else 0
    groups = {group, *security.supplemental_groups}
    if account and security.supplemental_groups_policy != api.Strict:
        groups |= {int(entry[2]) for entry in memberships if account[0] in entry[3].strip().split(",")}
    if any(not 0 <= one <= LARGEST_ID for one in (number, *groups)):
        # what starts the container would wrap such a number around: 4294967296 is root then (CVE-2024-40635)
        raise invalid_argument(f"user {number} and groups {sorted(groups)}: ids are numbers from 0 to {LARGEST_ID}")
    if not real_root and (number, group) != (0, 0):
        raise invalid_argument(
            f"user {number} and group {group} do not exist here: without root there is one user, 0, which is you; "
            "remove runAsUser and runAsGroup, or start the cluster as root"
        )
    return User(number, group, frozenset(groups), account[5] if account and account[5] else "/")


def is_number(text: str) -> bool:
    """Whether a user or group is given by number: in plain digits."""
    return text.isascii() and text.isdigit()


def _asked(security: api.LinuxContainerSecurityContext, image_user: str) -> tuple[str, str]:
    """Return user and group as texts, each a name or a number; no group is "". The request goes before the image."""
    user, _, group = (image_user or "0").partition(":")
    if security.HasField("run_as_user"):
        asked = str(security.run_as_user.value)  # a kubelet names the image's own user so, and leaves out its group
        user, group = asked, group if asked == user else ""
    elif security.run_as_username:
        user, group = security.run_as_username, ""
    if security.HasField("run_as_group"):
        if not security.HasField("run_as_user") and not security.run_as_username:
            raise invalid_argument("runAsGroup needs runAsUser beside it: name both")
        group = str(security.run_as_group.value)
    return user, group


def _lines(root: Path, name: str) -> list[str]:
    """Read /etc/NAME of an image, which may be anything: only a plain small file inside the image counts."""
    path = root / "etc" / name
    try:
        if not path.resolve().is_relative_to(root.resolve()):
            return []
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, RuntimeError):
        return []
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return []
        return file.read(LARGEST_FILE).decode(errors="replace").splitlines()
