"""Who a container of handler `process` runs as, and with how few rights."""

from __future__ import annotations

import os
import pwd
import shutil
from typing import NamedTuple

from k8sext.infra.cri.handlers.security import cannot, held, kept, plain
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.grpc import invalid_argument

NAME = "process"


class Identity(NamedTuple):
    """A user and groups to take on."""

    uid: int
    gid: int
    groups: list[int]


def check(security: api.LinuxContainerSecurityContext) -> None:
    """Raise StatusError when a container asks for rights that we do not have."""
    if security.privileged:
        raise cannot(NAME, "run privileged containers", "remove privileged: true")
    added = map(plain, security.capabilities.add_capabilities)
    missing = [name for name in added if not ((os.geteuid() == 0 and name == "ALL") or held(name))]
    if missing:
        what = f"add the capabilities {', '.join(missing)}, which it does not hold itself"
        raise cannot(NAME, what, "remove capabilities.add")
    if security.capabilities.add_ambient_capabilities:
        raise cannot(NAME, "add ambient capabilities", "remove them")
    identity(security)


def identity(security: api.LinuxContainerSecurityContext) -> Identity | None:
    """Return what to take on, None to stay who we are; raise StatusError when that needs root and we are not."""
    uid, gid = _user(security)
    groups = list(security.supplemental_groups)
    if os.geteuid() != 0:
        if (
            uid not in (None, 0, os.getuid())  # root on a node of ours is we, as for every runtime without root
            or gid not in (None, os.getgid())
            or not {*groups} <= {*os.getgroups(), os.getgid()}
        ):
            raise cannot(
                NAME,
                f"run as another user or group (it runs as {os.getuid()}:{os.getgid()}, without root)",
                "remove runAsUser, runAsGroup, fsGroup and supplementalGroups, or start the cluster as root",
            )
        return None
    if uid is None and gid is None and not groups:
        return None
    uid = os.getuid() if uid is None else uid
    own_group, member_of = _groups_of(uid)
    gid = own_group if gid is None else gid
    if security.supplemental_groups_policy == api.Strict:
        member_of = []
    return Identity(uid, gid, sorted({gid, *member_of, *groups}))


def lowering(security: api.LinuxContainerSecurityContext, wanted: Identity | None) -> list[str]:
    """Return the command (setpriv ...) to put before a program that is to run with fewer rights than ours, else
    nothing."""
    arguments = ["--no-new-privs"] if security.no_new_privs else []
    if wanted:
        groups = ",".join(map(str, wanted.groups))
        arguments += [f"--reuid={wanted.uid}", f"--regid={wanted.gid}", f"--groups={groups}"]
    if os.geteuid() == 0:
        names = kept(security.capabilities, privileged=False)
        arguments.append(f"--bounding-set={','.join(['-all', *(f'+{name.lower()}' for name in names)])}")
    if not arguments:
        return []
    if (setpriv := shutil.which("setpriv")) is None:
        raise cannot(NAME, "lower a program's rights without the program setpriv", "install util-linux")
    return [setpriv, *arguments, "--"]


def _user(security: api.LinuxContainerSecurityContext) -> tuple[int | None, int | None]:
    uid = security.run_as_user.value if security.HasField("run_as_user") else None
    gid = security.run_as_group.value if security.HasField("run_as_group") else None
    if gid is not None and uid is None and not security.run_as_username:
        raise invalid_argument("runAsGroup needs runAsUser beside it: name both")
    if security.run_as_username:
        try:
            uid = pwd.getpwnam(security.run_as_username).pw_uid
        except KeyError:
            raise invalid_argument(
                f"this machine knows no user {security.run_as_username!r}: give runAsUser as a number"
            ) from None
    return uid, gid


def _groups_of(uid: int) -> tuple[int, list[int]]:
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return 0, []
    return user.pw_gid, os.getgrouplist(user.pw_name, user.pw_gid)
