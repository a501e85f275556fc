//! Binary formats that carry the samples of a biosignal: SCP-ECG, ISHNE, EDF and BDF, MFER.

pub(crate) mod edf;
pub(crate) mod ishne;
pub(crate) mod mfer;
pub(crate) mod scp;

/// Little endian reads; the caller has checked the length.
pub(crate) fn u16_le(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn u32_le(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(crate) fn u64_le(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_le(bytes, at)) | u64::from(u32_le(bytes, at + 4)) << 32
}
