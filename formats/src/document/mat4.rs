//! MAT-files of level 4 (MathWorks, "MAT-File Format", chapter 2): matrices one after another.

use crate::engine::{End, Machine, Report, Step};
use crate::{Evidence, Part};

const HEADER: usize = 20;
/// Text matrices and signals stay far below; beyond this the numbers are no sizes.
const LARGEST: u64 = 1 << 40;

struct Matrix {
    name: usize,
    data: u64,
}

fn word(bytes: &[u8], at: usize, big: bool) -> u32 {
    let four = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    if big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
}

/// The header of a matrix: type MOPT, rows, columns, imaginary flag, length of the name with its zero byte.
fn matrix(bytes: &[u8], big: bool) -> Option<Matrix> {
    let (mopt, rows, columns) = (word(bytes, 0, big), u64::from(word(bytes, 4, big)), u64::from(word(bytes, 8, big)));
    let (imaginary, name) = (word(bytes, 12, big), word(bytes, 16, big) as usize);
    let [machine, zero, precision, kind] = [mopt / 1000, mopt / 100 % 10, mopt / 10 % 10, mopt % 10];
    let size = [8, 4, 4, 2, 2, 1].get(precision as usize).copied()?;
    let count = rows.checked_mul(columns)?.checked_mul(size)?.checked_mul(1 + u64::from(imaginary))?;
    let fits = machine == u32::from(big) && zero == 0 && kind <= 2 && imaginary <= 1 && (1..=256).contains(&name);
    (fits && count <= LARGEST && mopt < 10_000).then_some(Matrix { name, data: count })
}

/// Recognizes the first matrix and its byte order. A name that ends in a zero byte tells it from other numbers.
pub(crate) fn recognize(head: &[u8]) -> Option<bool> {
    if head.len() < HEADER {
        return None;
    }
    [false, true].into_iter().find(|big| {
        matrix(head, *big).is_some_and(|matrix| {
            let name = head.get(HEADER..HEADER + matrix.name).unwrap_or_default();
            let Some((last, name)) = name.split_last() else { return false };
            let plain = |c: &u8| c.is_ascii_alphanumeric() || *c == b'_';
            *last == 0 && name.first().is_some_and(u8::is_ascii_alphabetic) && name.iter().all(plain)
        })
    })
}

pub(crate) struct Mat4 {
    big: bool,
    left: u64,
    bad: Option<Evidence>,
    floor: u64,
}

impl Mat4 {
    pub(crate) fn new(big: bool) -> Self {
        Self { big, left: 0, bad: None, floor: 0 }
    }
}

impl Machine for Mat4 {
    fn step(&mut self, window: &[u8], at: u64) -> Step {
        if self.left > 0 {
            let len = window.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= len as u64;
            return Step::Take(len);
        }
        if window.len() < HEADER {
            return Step::Need(HEADER);
        }
        let Some(matrix) = matrix(window, self.big) else {
            self.bad = Some(Evidence::Contradiction { part: Part::Matrix, offset: at });
            return Step::Stop;
        };
        self.left = matrix.name as u64 + matrix.data;
        self.floor = at + HEADER as u64 + self.left;
        Step::Take(HEADER)
    }

    fn finish(&mut self, rest: &[u8], _at: u64, end: &End<'_>, report: &mut Report) {
        if let Some(fact) = self.bad {
            end.contradicted(fact, report);
        } else if self.left > 0 || !rest.is_empty() {
            let expected = end.len + self.left.max(1);
            report.partial(Evidence::Short { part: Part::Matrix, expected, actual: end.len });
        }
    }

    fn floor(&self) -> u64 {
        self.floor
    }
}
