//! The checksums that the written formats carry.

/// CRC-CCITT: polynomial 0x1021, initial value 0xFFFF, not reflected. SCP-ECG (EN 1064, 5.2.7 and 5.3.2) and
/// ISHNE (header bytes 8..10) both use it.
pub(super) fn crc_ccitt(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |mut crc: u16, &byte| {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
        crc
    })
}

/// The CRC-32 of ISO/IEC 13239 (zip, PNG): reflected polynomial 0xEDB88320, initial value and final xor all ones.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |mut crc, &byte| {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0xEDB8_8320 };
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values_of_the_crc_catalogue() {
        assert_eq!(crc_ccitt(b"123456789"), 0x29B1);
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }
}
