"""One mount's request loop: receive, decode, let the backend do it, reply.

One thread does all of it, and between two requests looks after what else there is: so what the
kernel was told, and that it has changed since, are sent in that order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from interop.drives import ahead, linuxerrno, replies
from interop.drives.backend import Backend, Caller, Found
from interop.drives.bulk import IN_SLOT, LEAST_BYTES, WORTH_BYTES, Bulk, InSlot
from interop.drives.constants import FSYNC_DATA_ONLY, WRITE_CACHE, WRITE_KILL_SUIDGID, Opcode
from interop.drives.errors import ProtocolError
from interop.drives.metadata import Options
from interop.drives.protocol import (
    HEADER_SIZE,
    CopyIn,
    CreateIn,
    FallocateIn,
    Forgets,
    FsyncIn,
    GetxattrIn,
    Header,
    InitIn,
    LinkIn,
    LseekIn,
    MkdirIn,
    MknodIn,
    Name,
    ReadIn,
    RenameIn,
    SetattrIn,
    SetxattrIn,
    SymlinkIn,
    WriteIn,
    decode,
)

MAX_WRITE = 1 << 20
"""Bytes of data in one READ or WRITE."""

BUFFER_SIZE = MAX_WRITE + 4096
"""Bytes of the largest request: the kernel wants room for its headers (FUSE_MIN_READ_BUFFER)."""

_MOST_LISTED = 1 << 16
"""Bytes of one READDIR reply: each entry in it is a look-up, and others are waiting meanwhile."""

HELPER = 0x1000
"""An opcode that no kernel has: the pump's own helper in the guest says something."""

KEPT_S = 3600.0
"""How long the kernel may go by what it is told the changes of. Not for ever: it costs nothing to
ask once an hour, and would heal what a bug or a lost message has left behind."""

Reply = bytes | memoryview
Handler = Callable[[Header, Any], Reply | InSlot | None]

Between = Callable[[], float | None]
"""Called between requests; says for how long at most to wait for the next one, in seconds."""

_MUTATING = frozenset(
    {
        Opcode.SETATTR,
        Opcode.SYMLINK,
        Opcode.MKNOD,
        Opcode.MKDIR,
        Opcode.UNLINK,
        Opcode.RMDIR,
        Opcode.RENAME,
        Opcode.RENAME2,
        Opcode.LINK,
        Opcode.WRITE,
        Opcode.CREATE,
        Opcode.SETXATTR,
        Opcode.REMOVEXATTR,
        Opcode.FALLOCATE,
        Opcode.COPY_FILE_RANGE,
    }
)


class Port(Protocol):
    """What the server needs of a transport (interop.drives.transport_posix.Transport)."""

    def receive(self, timeout_s: float | None = None) -> memoryview | None:
        """The next request, None at the end, or an empty view where none has come."""

    def send(self, parts: Sequence[Reply]) -> None:
        """Send one message."""


class Server:
    """Serves `backend` over `port`; the caller closes both.

    `lifetime_s` is how long the kernel may go by an answer, `kept_lifetime_s` how long where it is
    told of changes; both can be changed at any time and count from the next answer on. `options`
    has to be the backend's.
    """

    def __init__(
        self,
        port: Port,
        backend: Backend,
        options: Options,
        *,
        lifetime_s: float = 1.0,
        kept_lifetime_s: float = KEPT_S,
    ) -> None:
        self.lifetime_s = lifetime_s
        self.diverted_pid = -1
        """Whose requests `diverted` answers, as far as it has their opcode."""
        self.diverted: Mapping[int, Handler] = {}
        self.helper: Callable[[Header, memoryview], None] | None = None
        """What is told of requests whose opcode is HELPER; the kernel makes none."""
        self.ahead: ahead.Ahead | None = None
        """What decides which answers are sent before they are asked for."""
        self.bulk: Bulk | None = None
        """What slots are in; without it no request may name one."""
        self.on_worth: Callable[[], None] | None = None
        """Called once so much has gone through the port that slots would be worth their while."""
        self._large_bytes = 0
        self.kept_lifetime_s = kept_lifetime_s
        self.agreement: replies.Agreement | None = None
        self._port = port
        self._backend = backend
        self._ended = False
        self._handlers = self._table(options)

    def serve(self, between: Between | None = None) -> None:
        """Answer requests until the mount ends; `between` is called after each.

        Raises ProtocolError or VersionError where the peer is no kernel that can be served, and
        OSError where the transport fails; in each case this mount is over, and it alone.
        """
        receive, answer = self._port.receive, self._answer
        timeout_s = between() if between is not None else None
        while not self._ended:
            request = receive(timeout_s)
            if request is None:
                return
            if request:
                answer(request)
            if between is not None:
                timeout_s = between()

    def _answer(self, request: memoryview) -> None:
        header, body = decode(request)
        if header.opcode == HELPER:
            if self.helper is not None:
                self.helper(header, request[HEADER_SIZE:])
            return
        if header.opcode == ahead.CODE:
            if self.ahead is not None:
                self.ahead.used(request[HEADER_SIZE:])
            return
        if self.agreement is None and header.opcode != Opcode.INIT:
            raise ProtocolError("before INIT", opcode=header.opcode)
        handler = self._handlers.get(header.opcode)
        if header.pid == self.diverted_pid:
            handler = self.diverted.get(header.opcode, handler)
        error = 0
        reply: Reply | InSlot | None = b""
        if handler is None:
            error = linuxerrno.ENOSYS
        else:
            try:
                reply = handler(header, body)
            except OSError as failure:
                error, reply = failure.errno or linuxerrno.EIO, b""
            except OverflowError:  # an offset beyond what the host's calls can be given
                error, reply = linuxerrno.EINVAL, b""
        if isinstance(reply, InSlot):
            error, reply = -IN_SLOT, reply.payload
        if reply is not None:
            head = replies.header(header.unique, len(reply), error)
            before = self.ahead.take() if self.ahead is not None else b""
            self._port.send([part for part in (before, head, reply) if part])
        self._backend.trim()

    def _table(self, options: Options) -> dict[int, Handler]:
        table: dict[int, Handler] = {
            Opcode.INIT: self._init,
            Opcode.DESTROY: self._destroy,
            Opcode.FORGET: self._forget,
            Opcode.BATCH_FORGET: self._forget,
            Opcode.INTERRUPT: lambda header, body: None,
            Opcode.LOOKUP: self._lookup,
            Opcode.GETATTR: self._getattr,
            Opcode.SETATTR: self._setattr,
            Opcode.READLINK: lambda header, body: self._backend.readlink(header.nodeid),
            Opcode.SYMLINK: self._symlink,
            Opcode.MKNOD: self._mknod,
            Opcode.MKDIR: self._mkdir,
            Opcode.UNLINK: self._unlink,
            Opcode.RMDIR: self._rmdir,
            Opcode.RENAME: self._rename,
            Opcode.RENAME2: self._rename,
            Opcode.LINK: self._link,
            Opcode.CREATE: self._create,
            Opcode.READ: self._read,
            Opcode.WRITE: self._write,
            Opcode.RELEASE: lambda header, body: b"",
            Opcode.RELEASEDIR: lambda header, body: b"",
            Opcode.READDIR: lambda header, body: self._list(header, body, plus=False),
            Opcode.READDIRPLUS: lambda header, body: self._list(header, body, plus=True),
            Opcode.STATFS: lambda header, body: replies.statfs_out(self._backend.statfs()),
            Opcode.FSYNC: self._fsync,
            Opcode.FSYNCDIR: self._fsync,
            Opcode.FALLOCATE: self._fallocate,
            Opcode.LSEEK: self._lseek,
            Opcode.COPY_FILE_RANGE: self._copy,
        }
        # What has no entry is ENOSYS, and the kernel does not ask again: so OPEN and OPENDIR cost
        # one message per mount, and so do FLUSH on hosts where it is no matter and, without
        # metadata, attributes.
        if self._backend.flush is not None:
            table[Opcode.FLUSH] = self._flush
        if options.metadata:
            table[Opcode.GETXATTR] = self._getxattr
            table[Opcode.LISTXATTR] = self._getxattr
            table[Opcode.SETXATTR] = self._setxattr
            table[Opcode.REMOVEXATTR] = self._removexattr
        if options.read_only:
            table.update(dict.fromkeys(_MUTATING & table.keys(), _refuse))
        return table

    def _init(self, header: Header, body: InitIn) -> Reply:
        if self.agreement is not None:
            raise ProtocolError("a second INIT", opcode=header.opcode)
        self.agreement, answer = replies.negotiate(body, max_write=MAX_WRITE)
        return answer

    def _destroy(self, header: Header, body: object) -> Reply:
        self._ended = True
        return b""

    def _forget(self, header: Header, body: Forgets) -> None:
        for node, lookups in body.pairs:
            self._backend.forget(node or header.nodeid, lookups)

    def entry(self, found: Found) -> bytes:
        """What the kernel is told of a name."""
        return replies.entry(
            found.node,
            found.attributes,
            self.kept_lifetime_s if found.name_kept else self.lifetime_s,
            self.kept_lifetime_s if found.attributes_kept else self.lifetime_s,
        )

    def attributes(self, found: Found) -> bytes:
        """What the kernel is told of a node."""
        lifetime_s = self.kept_lifetime_s if found.attributes_kept else self.lifetime_s
        return replies.attributes_out(found.attributes, lifetime_s)

    def _lookup(self, header: Header, body: Name) -> Reply:
        try:
            return self.entry(self._backend.lookup(header.nodeid, body.name))
        except FileNotFoundError:
            is_kept = self._backend.absence_kept(header.nodeid, body.name)
            lifetime_s = self.kept_lifetime_s if is_kept else self.lifetime_s
            if not lifetime_s:
                raise
            return replies.no_such_entry(lifetime_s)

    def _getattr(self, header: Header, body: object) -> Reply:
        return self.attributes(self._backend.getattr(header.nodeid))

    def _setattr(self, header: Header, body: SetattrIn) -> Reply:
        return self.attributes(self._backend.setattr(header.nodeid, body))

    def _symlink(self, header: Header, body: SymlinkIn) -> Reply:
        made = self._backend.symlink(_caller(header), header.nodeid, body.name, body.target)
        return self.entry(made)

    def _mknod(self, header: Header, body: MknodIn) -> Reply:
        mode = body.mode & ~body.umask
        made = self._backend.mknod(_caller(header), header.nodeid, body.name, mode, body.rdev)
        return self.entry(made)

    def _mkdir(self, header: Header, body: MkdirIn) -> Reply:
        mode = body.mode & ~body.umask
        return self.entry(self._backend.mkdir(_caller(header), header.nodeid, body.name, mode))

    def _create(self, header: Header, body: CreateIn) -> Reply:
        mode = body.mode & ~body.umask
        made = self._backend.create(_caller(header), header.nodeid, body.name, mode, body.flags)
        return self.entry(made) + replies.open_out(0, 0)

    def _unlink(self, header: Header, body: Name) -> Reply:
        self._backend.unlink(header.nodeid, body.name)
        return b""

    def _rmdir(self, header: Header, body: Name) -> Reply:
        self._backend.rmdir(header.nodeid, body.name)
        return b""

    def _rename(self, header: Header, body: RenameIn) -> Reply:
        self._backend.rename(header.nodeid, body.name, body.newdir, body.newname, body.flags)
        return b""

    def _link(self, header: Header, body: LinkIn) -> Reply:
        return self.entry(self._backend.link(body.oldnodeid, header.nodeid, body.name))

    def _read(self, header: Header, body: ReadIn) -> Reply | InSlot:
        if self.ahead is not None:
            self.ahead.read(header.nodeid, body.offset)
        if body.slot:
            room = self._slot(body.slot, body.size)
            return InSlot(self._backend.read_into(header.nodeid, body.offset, room))
        self._count_large(body.size)
        return self._backend.read(header.nodeid, body.offset, min(body.size, MAX_WRITE))

    def _slot(self, number: int, size: int) -> memoryview:
        if self.bulk is None:
            raise ProtocolError(f"slot {number}, and there are none")
        return self.bulk.slot(number, size)

    def _count_large(self, size: int) -> None:
        if size >= LEAST_BYTES and self.on_worth is not None:
            self._large_bytes += size
            if self._large_bytes >= WORTH_BYTES:
                self.on_worth()
                self.on_worth = None

    def _write(self, header: Header, body: WriteIn) -> Reply:
        if body.slot:
            data = self._slot(body.slot, body.size)
        else:
            data = body.data
            self._count_large(body.size)
        if body.write_flags & WRITE_CACHE:
            # Pages never reach beyond the end of the file that was mapped. If they do, the host
            # has made it shorter since, and it must not get back what that took away.
            end = self._backend.getattr(header.nodeid).attributes.size
            self._backend.write(
                header.nodeid, body.offset, data[: max(0, end - body.offset)], False
            )
            return replies.write_out(len(data))
        kill = bool(body.write_flags & WRITE_KILL_SUIDGID)
        return replies.write_out(self._backend.write(header.nodeid, body.offset, data, kill))

    def _list(self, header: Header, body: ReadIn, *, plus: bool) -> Reply:
        room = min(body.size, _MOST_LISTED)
        parts: list[bytes] = []
        end = 0

        def emit(name: bytes, ino: int, kind: int, following: int, found: Found | None) -> bool:
            nonlocal room, end
            room -= replies.dirent_size(name, plus=plus)
            if room < 0:
                end = 0
                return False
            end = following
            if plus:
                parts.append(replies.NO_ENTRY if found is None else self.entry(found))
            parts.append(replies.dirent(ino, following, kind, name))
            return True

        self._backend.readdir(header.nodeid, body.offset, plus, emit)
        if end and self.ahead is not None:
            self.ahead.listed(header.nodeid, end)
        return b"".join(parts)

    def _fsync(self, header: Header, body: FsyncIn) -> Reply:
        self._backend.fsync(header.nodeid, bool(body.flags & FSYNC_DATA_ONLY))
        return b""

    def _flush(self, header: Header, body: object) -> Reply:
        flush = self._backend.flush
        assert flush is not None  # or there would be no such entry
        flush(header.nodeid)
        return b""

    def _fallocate(self, header: Header, body: FallocateIn) -> Reply:
        self._backend.fallocate(header.nodeid, body.mode, body.offset, body.length)
        return b""

    def _lseek(self, header: Header, body: LseekIn) -> Reply:
        return replies.lseek_out(self._backend.lseek(header.nodeid, body.offset, body.whence))

    def _copy(self, header: Header, body: CopyIn) -> Reply:
        copied = self._backend.copy(
            header.nodeid, body.off_in, body.nodeid_out, body.off_out, body.length
        )
        return replies.write_out(copied)

    def _getxattr(self, header: Header, body: GetxattrIn) -> Reply:
        if body.name:
            value = self._backend.getxattr(header.nodeid, body.name)
        else:
            value = self._backend.listxattr(header.nodeid)
        if not body.size:
            return replies.xattr_size(len(value))
        if len(value) > body.size:
            raise OSError(linuxerrno.ERANGE, "the caller's room is too small")
        return value

    def _setxattr(self, header: Header, body: SetxattrIn) -> Reply:
        self._backend.setxattr(header.nodeid, body.name, body.value, body.flags)
        return b""

    def _removexattr(self, header: Header, body: Name) -> Reply:
        self._backend.removexattr(header.nodeid, body.name)
        return b""


def _caller(header: Header) -> Caller:
    return Caller(header.uid, header.gid)


def _refuse(header: Header, body: object) -> Reply:
    raise OSError(linuxerrno.EROFS, "the drive is mounted read-only")
