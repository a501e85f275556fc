//! XML in UTF-16: three of seven real SierraECG files are little endian with a byte order mark.

use super::Xml;
use crate::engine::{Driver, End, Machine, NulWatch, Report, Step};
use crate::{Evidence, Part};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

/// Looks for a byte order mark, or for `<?` in one of the orders (XML 1.0 appendix F).
pub(crate) fn recognize(head: &[u8]) -> Option<Order> {
    let text = |order: Order, from: usize| {
        let units: Vec<u16> = head.get(from..)?.chunks_exact(2).take(64).map(|pair| unit(order, pair)).collect();
        let text: Vec<u8> = units.iter().map(|u| u8::try_from(*u).unwrap_or(0xFF)).collect();
        super::recognize(text.trim_ascii_start()).then_some(order)
    };
    if head.starts_with(b"\xFF\xFE") {
        text(Order::Little, 2)
    } else if head.starts_with(b"\xFE\xFF") {
        text(Order::Big, 2)
    } else if head.starts_with(b"<\0?\0") {
        text(Order::Little, 0)
    } else if head.starts_with(b"\0<\0?") {
        text(Order::Big, 0)
    } else {
        None
    }
}

fn unit(order: Order, pair: &[u8]) -> u16 {
    match order {
        Order::Little => u16::from_le_bytes([pair[0], pair[1]]),
        Order::Big => u16::from_be_bytes([pair[0], pair[1]]),
    }
}

pub(crate) struct Utf16 {
    order: Order,
    first: bool,
    surrogate: Option<u16>,
    inner: Driver<Xml>,
    nul: NulWatch,
    text: Vec<u8>,
}

impl Utf16 {
    pub(crate) fn new(order: Order) -> Self {
        Self {
            order,
            first: true,
            surrogate: None,
            inner: Driver::new(Xml::new()),
            nul: NulWatch::new(),
            text: Vec::new(),
        }
    }

    fn put(&mut self, unit: u16) {
        if let Some(high) = self.surrogate.take() {
            let pair = char::decode_utf16([high, unit]).next();
            if let Some(Ok(c)) = pair {
                self.text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return;
            }
            self.text.push(b'?');
        }
        match unit {
            0..0x80 => self.text.push(unit as u8),
            0xD800..0xDC00 => self.surrogate = Some(unit),
            _ => {
                let c = char::from_u32(u32::from(unit)).unwrap_or('?');
                self.text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }

    fn units(&mut self, bytes: &[u8]) {
        self.text.clear();
        for pair in bytes.chunks_exact(2) {
            let unit = unit(self.order, pair);
            let mark = std::mem::take(&mut self.first) && unit == 0xFEFF;
            if !mark {
                self.put(unit);
            }
        }
        let text = std::mem::take(&mut self.text);
        self.nul.push(&text);
        self.inner.push(&text);
        self.text = text;
    }
}

impl Machine for Utf16 {
    fn step(&mut self, window: &[u8], _at: u64) -> Step {
        // The last character stays for the end: it may be none.
        if window.len() < 4 {
            return Step::Need(4);
        }
        let len = (window.len().min(32 << 10) & !1) - 2;
        self.units(&window[..len]);
        Step::Take(len)
    }

    fn finish(&mut self, rest: &[u8], at: u64, end: &End<'_>, report: &mut Report) {
        // A channel for other texts puts a line end of its own behind the root.
        let foreign = |rest: &[u8]| !rest.is_empty() && rest.iter().all(|c| matches!(c, b'\r' | b'\n'));
        let whole = if self.inner.machine.is_closed() && foreign(rest) { 0 } else { rest.len() & !1 };
        self.units(&rest[..whole]);
        let (rest, at) = (&rest[whole..], at + whole as u64);
        self.inner.finish(&self.nul, report);
        if self.inner.machine.is_closed() && foreign(rest) {
            report.suspect(Evidence::TrailingBytes { from: at, length: rest.len() as u64 });
        } else if !rest.is_empty() {
            // Half a character: the content was cut, or zero bytes were put after it.
            if rest == [0] && end.nul.tail() > 0 {
                report.suspect(Evidence::NulTail { from: at, length: 1 });
            } else {
                report.partial(Evidence::Short { part: Part::Content, expected: end.len + 1, actual: end.len });
            }
        }
    }
}
