//! Runs a filter as the kernel would, to check what was compiled.

use super::Program;

/// `AUDIT_ARCH_X86_64`, `linux/audit.h`.
const ARCHITECTURE: u32 = 0xc000_003e;

impl Program {
    /// What the filter returns for a call of x86-64. **Source:** Linux, `struct seccomp_data`; bpf(4).
    ///
    /// # Panics
    /// If the filter leaves its instructions, which the kernel would refuse.
    pub(crate) fn answer(&self, number: u32, arguments: &[u64; 6]) -> u32 {
        let word = |offset: u32| -> u32 {
            match offset {
                0 => number,
                4 => ARCHITECTURE,
                _ => {
                    let index = usize::try_from(offset.saturating_sub(16) / 8).unwrap_or_default();
                    let shift = if offset.is_multiple_of(8) { 0 } else { 32 };
                    u32::try_from(arguments[index] >> shift & 0xffff_ffff).unwrap_or_default()
                }
            }
        };
        let (mut at, mut accumulator) = (0, 0_u32);
        loop {
            let instruction = self.instructions[at];
            let jump = |holds: bool| usize::from(if holds { instruction.jt } else { instruction.jf });
            at += 1 + match instruction.code {
                0x20 => {
                    accumulator = word(instruction.k);
                    0
                }
                0x54 => {
                    accumulator &= instruction.k;
                    0
                }
                0x05 => usize::try_from(instruction.k).unwrap_or(usize::MAX),
                0x15 => jump(accumulator == instruction.k),
                0x25 => jump(accumulator > instruction.k),
                0x35 => jump(accumulator >= instruction.k),
                _ => return instruction.k,
            };
        }
    }
}
