//! CRC-32 as in gzip and Ethernet.

/// Eight tables, so that eight bytes are taken at once.
/// **Source:** RFC 1952, section 8; Kounavis and Berry, "A Systematic Approach to Building High Performance
/// Software-based CRC Generators", 2005.
const TABLES: [[u32; 256]; 8] = {
    let mut tables = [[0_u32; 256]; 8];
    let mut index = 0_u32;
    while index < 256 {
        let mut value = index;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        tables[0][index as usize] = value;
        index += 1;
    }
    let mut index = 0;
    while index < 256 {
        let mut slice = 1;
        while slice < 8 {
            let before = tables[slice - 1][index];
            tables[slice][index] = tables[0][(before & 0xff) as usize] ^ (before >> 8);
            slice += 1;
        }
        index += 1;
    }
    tables
};

/// Computes the checksum of `bytes`.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut value = !0_u32;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let [a, b, c, d] = value.to_le_bytes();
        let [e, f, g, h] = [chunk[4], chunk[5], chunk[6], chunk[7]];
        let indexes = [a ^ chunk[0], b ^ chunk[1], c ^ chunk[2], d ^ chunk[3], e, f, g, h];
        value = indexes.iter().zip(TABLES.iter().rev()).fold(0, |value, (index, table)| value ^ table[usize::from(*index)]);
    }
    for &byte in chunks.remainder() {
        let [low, ..] = value.to_le_bytes();
        value = TABLES[0][usize::from(low ^ byte)] ^ (value >> 8);
    }
    !value
}

#[cfg(test)]
mod tests {
    #[test]
    fn check_value_of_the_standard() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(super::crc32(b"The quick brown fox jumps over the lazy dog"), 0x414f_a339);
    }
}
