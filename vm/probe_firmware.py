"""The probe's guest: a ROM image that does a little of everything an operating system does.

It starts at the reset vector in real mode, enters protected mode and long mode with paging, waits
for an interrupt of its local APIC's timer with the processor halted, then computes a number with
general and SSE2 registers and hands it to QEMU's isa-debug-exit device, which ends QEMU with it.

Why these steps. An accelerator that opens and answers may still not run guests: this was first
met on a host whose /dev/kvm has no virtualisation hardware behind it and interprets the guest
instead. An interpreter manages the mode switches and even the timer; it is caught by SSE2, which
every 64-bit processor has and compilers use freely but such interpreters lack (KVM then reports an
"emulation failure"), and by the number of rounds, which takes a processor milliseconds and an
interpreter, at about a microsecond per instruction, longer than the probe's deadline.

The seed is different every time, so the answer cannot have come from anywhere but the guest.

References: Intel SDM vol. 2 (encodings) and vol. 3: 9.9 (mode switching), 4.5 (4-level paging),
6.14 (64-bit interrupt gates), 10.5.4 (APIC timer); QEMU's hw/misc/debugexit.c.
"""

from __future__ import annotations

import struct

IMAGE_BYTES = 0x10000
"""QEMU wants firmware in multiples of 64 KiB; this one ends at the 4 GiB mark."""

EXIT_PORT = 0xF4
"""The I/O port of the isa-debug-exit device."""

ROUNDS = 4_000_000
"""Work: four instructions a round."""

_BASE = 0x1_0000_0000 - IMAGE_BYTES
_RESET_VECTOR = 0xFFF0  # offset in the image: SDM vol. 3, 9.1.4
_MULTIPLIER = 0x5851F42D4C957F2D  # Knuth's, of MMIX: any odd 64-bit number would do
_MASK = (1 << 64) - 1
_CODE32, _DATA, _CODE64 = 0x08, 0x10, 0x18  # selectors: offsets in the GDT
_TIMER_VECTOR = 0x40

# RAM used by the guest: four page tables, the interrupt table, the top of the stack.
_PML4, _PDPT, _LOW_PD, _HIGH_PD, _IDT, _STACK = 0x1000, 0x2000, 0x3000, 0x4000, 0x6000, 0x9000
_APIC = 0xFEE00000


def expected_exit_code(seed: int) -> int:
    """The exit code with which QEMU ends if the guest ran: what `firmware_image` computes.

    The answer is six bits above 64; isa-debug-exit makes answer * 2 + 1 of it, so the code is
    odd and between 129 and 255, which no other way of QEMU's ending uses.
    """
    product = seed * pow(_MULTIPLIER, ROUNDS, 1 << 64)
    total = seed + ROUNDS * _MULTIPLIER
    answer = ((product ^ total) & _MASK) >> 58 | 0x40
    return answer << 1 | 1


def firmware_image(seed: int) -> bytes:
    """The ROM image for `seed`, a number of 64 bits. Raises struct.error if it is not."""
    code = _Assembler()
    _real_mode(code)
    _protected_mode(code)
    _long_mode(code)
    _tables(code, seed)
    image = bytearray(IMAGE_BYTES)
    assembled = code.assembled()
    image[: len(assembled)] = assembled
    # jmp start, relative to the next instruction; in 16 bits it wraps around.
    jump = b"\xe9" + struct.pack("<H", IMAGE_BYTES - (_RESET_VECTOR + 3))
    image[_RESET_VECTOR : _RESET_VECTOR + 3] = jump
    return bytes(image)


class _Assembler:
    """Bytes with labels: just enough of an assembler for one page of code."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._labels: dict[str, int] = {}
        self._fixups: list[tuple[int, str, str]] = []

    def label(self, name: str) -> None:
        """`name` is the address of what follows."""
        self._labels[name] = len(self._bytes)

    def put(self, encoded: str | bytes) -> None:
        """An instruction, as hexadecimal text or bytes."""
        self._bytes += bytes.fromhex(encoded) if isinstance(encoded, str) else encoded

    def refer(self, kind: str, name: str) -> None:
        """A reference to a label: see `assembled` for the kinds."""
        self._fixups.append((len(self._bytes), kind, name))
        self._bytes += bytes({"offset16": 2, "address32": 4, "relative8": 1, "relative32": 4}[kind])

    def align(self, boundary: int) -> None:
        """Zeroes up to a multiple of `boundary`."""
        self._bytes += bytes(-len(self._bytes) % boundary)

    def assembled(self) -> bytes:
        """The bytes with every reference filled in."""
        code = bytearray(self._bytes)
        for place, kind, name in self._fixups:
            target = self._labels[name]
            if kind == "offset16":  # within the image: real mode's segment starts there
                struct.pack_into("<H", code, place, target)
            elif kind == "address32":  # where the image lies in memory
                struct.pack_into("<I", code, place, _BASE + target)
            elif kind == "relative8":
                struct.pack_into("<b", code, place, target - (place + 1))
            else:
                struct.pack_into("<i", code, place, target - (place + 4))
        return bytes(code)


def _real_mode(code: _Assembler) -> None:
    code.put("fa")  # cli
    code.put("2e 66 0f 01 16")  # lgdt cs:[gdt_pointer]
    code.refer("offset16", "gdt_pointer")
    code.put("0f 20 c0")  # mov eax, cr0
    code.put("0c 01")  # or al, 1            protected mode enable
    code.put("0f 22 c0")  # mov cr0, eax
    code.put("66 ea")  # jmp far code32:protected
    code.refer("address32", "protected")
    code.put(struct.pack("<H", _CODE32))


def _protected_mode(code: _Assembler) -> None:
    code.label("protected")
    code.put(b"\x66\xb8" + struct.pack("<H", _DATA))  # mov ax, data
    code.put("8e d8 8e c0 8e d0")  # mov ds, es, ss <- ax
    code.put(b"\xbc" + struct.pack("<I", _STACK))  # mov esp, stack
    code.put(b"\xbf" + struct.pack("<I", _PML4))  # mov edi, page tables
    code.put("31 c0 fc")  # xor eax, eax; cld
    code.put(b"\xb9" + struct.pack("<I", 0x4000 // 4))  # mov ecx, four pages of dwords
    code.put("f3 ab")  # rep stosd
    # Pages of 2 MiB: the first one, the APIC's (uncached), and the one this image is in.
    # Bits: present 1, writable 2, user 4, write-through 8, uncached 0x10, large 0x80.
    for address, entry in (
        (_PML4, _PDPT | 0x7),
        (_PDPT, _LOW_PD | 0x7),
        (_PDPT + 3 * 8, _HIGH_PD | 0x7),
        (_LOW_PD, 0x87),
        (_HIGH_PD + 8 * (_APIC >> 21 & 511), _APIC | 0x9F),
        (_HIGH_PD + 8 * 511, 0xFFE00000 | 0x87),
    ):
        code.put(b"\xc7\x05" + struct.pack("<II", address, entry))  # mov dword [address], entry
    code.put("0f 20 e0")  # mov eax, cr4
    code.put("0d 20 06 00 00")  # or eax, PAE | OSFXSR | OSXMMEXCPT
    code.put("0f 22 e0")  # mov cr4, eax
    code.put(b"\xb8" + struct.pack("<I", _PML4))  # mov eax, PML4
    code.put("0f 22 d8")  # mov cr3, eax
    code.put("b9 80 00 00 c0")  # mov ecx, IA32_EFER
    code.put("0f 32")  # rdmsr
    code.put("0d 00 01 00 00")  # or eax, LME
    code.put("0f 30")  # wrmsr
    code.put("0f 20 c0")  # mov eax, cr0
    code.put("83 e0 fb")  # and eax, ~EM
    code.put("0d 02 00 00 80")  # or eax, PG | MP
    code.put("0f 22 c0")  # mov cr0, eax
    code.put("ea")  # jmp far code64:long
    code.refer("address32", "long")
    code.put(struct.pack("<H", _CODE64))


def _long_mode(code: _Assembler) -> None:
    code.label("long")
    code.put(b"\xb8" + struct.pack("<I", _DATA))  # mov eax, data
    code.put("8e d0 8e d8")  # mov ss, ds <- ax
    _interrupt_gate(code)
    code.put("31 db")  # xor ebx, ebx        the interrupt will set it
    code.put(b"\xbf" + struct.pack("<I", _APIC))  # mov edi, APIC
    for register, value in (
        (0xF0, 0x1FF),  # spurious interrupt vector register: enable
        (0x3E0, 0x0B),  # divide configuration: by one
        (0x320, _TIMER_VECTOR),  # timer: once, with this vector
        (0x380, 10_000),  # initial count: starts it
    ):
        code.put(b"\xc7\x87" + struct.pack("<II", register, value))  # mov dword [rdi+…], value
    code.label("wait")
    code.put("fb f4 fa")  # sti; hlt; cli
    code.put("85 db 74")  # test ebx, ebx; jz wait
    code.refer("relative8", "wait")
    _work(code)
    code.put("66 ba" + struct.pack("<H", EXIT_PORT).hex())  # mov dx, port
    code.put("ef")  # out dx, eax
    code.label("halt")
    code.put("f4 eb")  # hlt; jmp halt
    code.refer("relative8", "halt")
    code.label("interrupt")
    code.put("bb 01 00 00 00")  # mov ebx, 1
    code.put("c7 87 b0 00 00 00 00 00 00 00")  # mov dword [rdi+0xb0], 0   end of interrupt
    code.put("48 cf")  # iretq


def _interrupt_gate(code: _Assembler) -> None:
    """Fill in the one gate that is used, and load the table."""
    gate = _IDT + 16 * _TIMER_VECTOR
    code.put(b"\xbf" + struct.pack("<I", _IDT))  # mov edi, IDT
    code.put("31 c0")  # xor eax, eax
    code.put("b9 00 02 00 00 f3 48 ab")  # mov ecx, 512; rep stosq
    code.put("b8")  # mov eax, interrupt
    code.refer("address32", "interrupt")
    code.put(b"\x66\x89\x04\x25" + struct.pack("<I", gate))  # mov [gate], ax
    for offset, value in ((2, _CODE64), (4, 0x8E00)):  # 0x8e00: present interrupt gate, ring 0
        code.put(b"\x66\xc7\x04\x25" + struct.pack("<IH", gate + offset, value))
    code.put("c1 e8 10")  # shr eax, 16
    code.put(b"\x66\x89\x04\x25" + struct.pack("<I", gate + 6))  # mov [gate + 6], ax
    code.put("0f 01 1d")  # lidt [rip + idt_pointer]
    code.refer("relative32", "idt_pointer")


def _work(code: _Assembler) -> None:
    """Leave the answer in eax."""
    code.put("48 8b 05")  # mov rax, [rip + seed]
    code.refer("relative32", "seed")
    code.put(b"\x48\xbe" + struct.pack("<Q", _MULTIPLIER))  # mov rsi, multiplier
    code.put(b"\xb9" + struct.pack("<I", ROUNDS))  # mov ecx, rounds
    code.put("66 48 0f 6e c0")  # movq xmm0, rax
    code.put("66 48 0f 6e ce")  # movq xmm1, rsi
    code.label("round")
    code.put("48 0f af c6")  # imul rax, rsi
    code.put("66 0f d4 c1")  # paddq xmm0, xmm1
    code.put("ff c9 75")  # dec ecx; jnz round
    code.refer("relative8", "round")
    code.put("66 48 0f 7e c2")  # movq rdx, xmm0
    code.put("48 31 d0")  # xor rax, rdx
    code.put("48 c1 e8 3a")  # shr rax, 58
    code.put("83 c8 40")  # or eax, 0x40


def _tables(code: _Assembler, seed: int) -> None:
    code.align(8)
    code.label("gdt")
    # SDM vol. 3, 3.4.5: null; flat 32-bit code; flat data; 64-bit code.
    code.put(struct.pack("<4Q", 0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF, 0x00AF9B000000FFFF))
    code.label("gdt_pointer")
    code.put(struct.pack("<H", 4 * 8 - 1))
    code.refer("address32", "gdt")
    code.label("idt_pointer")
    code.put(struct.pack("<HQ", 0x1000 - 1, _IDT))
    code.align(8)
    code.label("seed")
    code.put(struct.pack("<Q", seed))
