//! CRC-32 as in gzip and Ethernet.

/// **Source:** RFC 1952, section 8.
const TABLE: [u32; 256] = {
    let mut table = [0_u32; 256];
    let mut index = 0_u32;
    while index < 256 {
        let mut value = index;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        table[index as usize] = value;
        index += 1;
    }
    table
};

/// Computes the checksum of `bytes`.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut value = !0_u32;
    for &byte in bytes {
        let [low, ..] = value.to_le_bytes();
        value = TABLE[usize::from(low ^ byte)] ^ (value >> 8);
    }
    !value
}

#[cfg(test)]
mod tests {
    #[test]
    fn check_value_of_the_standard() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
    }
}
