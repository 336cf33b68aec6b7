/* eBPF instructions, as the few that the programs here are made of (Documentation/bpf/standardization/
 * instruction-set.rst). Written out, since a compiler for them would be a build dependency of a
 * hundred megabytes. */
#ifndef ISTHMUS_BPF_INSN_H
#define ISTHMUS_BPF_INSN_H

#include <linux/bpf.h>

#define INSN(opcode, destination, source, offset, value)                                           \
    ((struct bpf_insn){.code = (opcode),                                                           \
                       .dst_reg = (destination) & 0xf,                                             \
                       .src_reg = (source) & 0xf,                                                  \
                       .off = (short)(offset),                                                     \
                       .imm = (int)(value)})

/* to = value; to = from; to += value */
#define SET(to, value) INSN(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value)
#define COPY(to, from) INSN(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0)
#define ADD(to, value) INSN(BPF_ALU64 | BPF_ADD | BPF_K, to, 0, 0, value)

/* what = htobe16(what) */
#define SWAP16(what) INSN(BPF_ALU | BPF_END | BPF_TO_BE, what, 0, 0, 16)

/* to = *(u32 *)(from + offset); *(u32 *)(to + offset) = value or from; u16 and u64 likewise */
#define LOAD64(to, from, offset) INSN(BPF_LDX | BPF_MEM | BPF_DW, to, from, offset, 0)
#define LOAD32(to, from, offset) INSN(BPF_LDX | BPF_MEM | BPF_W, to, from, offset, 0)
#define STORE16(to, offset, from) INSN(BPF_STX | BPF_MEM | BPF_H, to, from, offset, 0)
#define STORE32(to, offset, from) INSN(BPF_STX | BPF_MEM | BPF_W, to, from, offset, 0)
#define PUT16(to, offset, value) INSN(BPF_ST | BPF_MEM | BPF_H, to, 0, offset, value)
#define PUT32(to, offset, value) INSN(BPF_ST | BPF_MEM | BPF_W, to, 0, offset, value)
#define PUT64(to, offset, value) INSN(BPF_ST | BPF_MEM | BPF_DW, to, 0, offset, value)

/* Go to a label, always or depending on a register (its lower half where it is compared with a
 * value). A program is written with labels, numbers of its own; `bpf_resolve` makes offsets. */
#define GOTO(label) INSN(BPF_JMP | BPF_JA, 0, 0, label, 0)
#define IF_EQUAL(what, value, label) INSN(BPF_JMP32 | BPF_JEQ | BPF_K, what, 0, label, value)
#define UNLESS_EQUAL(what, value, label) INSN(BPF_JMP32 | BPF_JNE | BPF_K, what, 0, label, value)
#define IF_ZERO(what, label) INSN(BPF_JMP | BPF_JEQ | BPF_K, what, 0, label, 0)
#define UNLESS_SAME(what, other, label) INSN(BPF_JMP | BPF_JNE | BPF_X, what, other, label, 0)
#define LABEL(label) INSN(BPF_LABEL, 0, 0, label, 0)

/* No instruction of the kernel's; bpf_resolve takes it out. */
enum { BPF_LABEL = 0xff };

#define CALL(helper) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, helper)
#define EXIT INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/* Two instructions: to = the map of descriptor `fd`. */
#define LOAD_MAP(to, fd)                                                                           \
    INSN(BPF_LD | BPF_DW | BPF_IMM, to, BPF_PSEUDO_MAP_FD, 0, fd), INSN(0, 0, 0, 0, 0)

#endif
