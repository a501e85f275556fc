//! CRC-CCITT, byte by byte over a table.

const TABLE: [u16; 256] = {
    let mut table = [0u16; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// CRC-CCITT with polynomial 0x1021 and initial value 0xFFFF (EN 1064 5.2.7; ISHNE header).
#[derive(Clone, Copy)]
pub(crate) struct Ccitt(pub(crate) u16);

impl Ccitt {
    pub(crate) fn new() -> Self {
        Self(0xFFFF)
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |crc, byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)]);
    }
}

#[cfg(test)]
mod tests {
    use super::Ccitt;

    #[test]
    fn check_value() {
        let mut crc = Ccitt::new();
        crc.push(b"123456789");
        assert_eq!(crc.0, 0x29B1);
    }
}
