//! What may be uploaded, and how: decisions without a store, a network or a clock.

use leadline_activities::ports::uploads::{HeldPart, MAX_OBJECT, MAX_PART, MAX_PARTS, MAX_SINGLE, MIN_PART};
use leadline_domain::{Digest, Fault, FaultCode, Ingress, StagedName};

/// From this size on an upload is in parts unless its sender wants otherwise: what is cut off is resumed, not begun anew.
pub const MULTIPART_FROM: u64 = 100 << 20;
/// Parts are whole mebibytes and at least this long, bytes: over a line of 1 Mbit/s one takes a minute.
const PART: u64 = 8 << 20;
const MIB: u64 = 1 << 20;

/// How something is uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// In one request.
    Single,
    /// In parts of so many bytes, the last one shorter.
    Parts {
        /// Bytes of a part.
        size: u64,
        /// How many.
        count: u32,
    },
}

/// How to upload `size` bytes, if an organization takes `max` at most. `wanted`: in parts, or not.
///
/// # Errors
/// `file.empty`, `file.too_large`.
pub fn way(size: u64, max: u64, wanted: Option<bool>) -> Result<Way, Fault> {
    if size == 0 {
        return Err(Fault::new(FaultCode::FileEmpty, "a file of 0 bytes holds no recording"));
    }
    let max = max.min(MAX_OBJECT);
    if size > max {
        return Err(too_large(size, max));
    }
    match wanted.unwrap_or(size >= MULTIPART_FROM) {
        false if size > MAX_SINGLE => {
            let why = format!("{size} bytes do not fit one request ({MAX_SINGLE}): upload it in parts");
            Err(Fault::new(FaultCode::FileTooLarge, why))
        }
        false => Ok(Way::Single),
        true => {
            let part = part_size(size);
            Ok(Way::Parts { size: part, count: u32::try_from(size.div_ceil(part)).unwrap_or(MAX_PARTS) })
        }
    }
}

fn too_large(size: u64, max: u64) -> Fault {
    Fault::new(FaultCode::FileTooLarge, format!("{size} bytes are more than the {max} that are taken"))
}

/// Bytes of each part but the last: the smallest that keeps to [`MAX_PARTS`].
#[must_use]
pub fn part_size(size: u64) -> u64 {
    size.div_ceil(u64::from(MAX_PARTS)).next_multiple_of(MIB).clamp(PART, MAX_PART)
}

/// Name below `staging/` of a new upload. `random` keeps it from being guessed; a declared size is part of it, so that
/// whoever completes the upload knows what to expect and nothing has to be remembered.
#[must_use]
pub fn new_name(random: [u8; 16], size: Option<u64>) -> StagedName {
    let r = hex::encode(random);
    let text = match size {
        Some(n) => format!("{}-{r}-{n:x}", Ingress::Web),
        None => format!("{}-{r}", Ingress::Web),
    };
    // The form is one that parses, which a test holds; the other has it as well.
    StagedName::parse(&text).unwrap_or_else(|_| StagedName::derived(Ingress::Web, &[&r]))
}

/// The name of an upload of ours, and of no other way in; `key` may carry the `staging/` that clients are told.
///
/// # Errors
/// `upload.unknown`.
pub fn parse_name(key: &str) -> Result<StagedName, Fault> {
    let name = key.strip_prefix(KEY_PREFIX).unwrap_or(key);
    let form = StagedName::parse(name).ok().filter(|n| {
        let mut parts = n.as_str().split('-');
        parts.next() == Some(Ingress::Web.as_str()) && parts.next().is_some_and(|r| r.len() == 32)
    });
    form.ok_or_else(unknown)
}

/// What keys begin with.
pub const KEY_PREFIX: &str = "staging/";

/// The answer for what is not there, was never, or is of others.
#[must_use]
pub fn unknown() -> Fault {
    Fault::new(FaultCode::UploadUnknown, "your organization has no such upload")
}

/// The size that was declared when the upload began.
#[must_use]
pub fn declared_size(name: &StagedName) -> Option<u64> {
    name.as_str().split('-').nth(2).and_then(|n| u64::from_str_radix(n, 16).ok())
}

/// A media type (RFC 9110 section 8.3.1: token "/" token, then parameters), bounded. None given: bytes.
///
/// # Errors
/// `request.invalid`.
pub fn media_type(given: Option<&str>) -> Result<String, Fault> {
    let given = given.map(str::trim).filter(|g| !g.is_empty()).unwrap_or("application/octet-stream");
    let plain = given.len() <= 128 && given.bytes().all(|b| (0x20..0x7f).contains(&b));
    let essence = given.split(';').next().unwrap_or_default().trim();
    let token =
        |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    let typed = essence.split_once('/').is_some_and(|(a, b)| token(a) && token(b));
    if plain && typed { Ok(given.to_owned()) } else { Err(invalid("type is no media type")) }
}

/// A SHA-256 as 64 hexadecimal digits.
///
/// # Errors
/// `request.invalid`.
pub fn digest(given: Option<&str>) -> Result<Option<Digest>, Fault> {
    match given.map(str::trim).filter(|g| !g.is_empty()) {
        None => Ok(None),
        Some(g) => Digest::parse(g).map(Some).map_err(|_| invalid("sha256 is not 64 hexadecimal digits")),
    }
}

/// A size in bytes.
///
/// # Errors
/// `request.invalid`.
pub fn size(given: Option<&str>) -> Result<Option<u64>, Fault> {
    match given.map(str::trim).filter(|g| !g.is_empty()) {
        None => Ok(None),
        Some(g) => g.parse().map(Some).map_err(|_| invalid("size is no number of bytes")),
    }
}

/// A fault for a field that is wrong.
#[must_use]
pub fn invalid(why: &str) -> Fault {
    Fault::new(FaultCode::RequestInvalid, why)
}

/// A part's number.
///
/// # Errors
/// `request.invalid`.
pub fn part_number(given: &str) -> Result<u32, Fault> {
    let n = given.trim().parse::<u32>().ok().filter(|n| (1..=MAX_PARTS).contains(n));
    n.ok_or_else(|| invalid("a part's number is 1 to 10000"))
}

/// Whether an upload of a declared size can have a part of this number. Clients choose how long their parts are, so
/// that it is the store's shortest that counts, not the length that they are told.
///
/// # Errors
/// `request.invalid`.
pub fn has_part(number: u32, declared: Option<u64>) -> Result<(), Fault> {
    match declared.map(|size| size.div_ceil(MIN_PART).max(1)) {
        Some(most) if u64::from(number) > most => {
            Err(invalid(&format!("an upload of the declared size has {most} parts at most")))
        }
        _ => Ok(()),
    }
}

/// A part as a client lists it: number and tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPart {
    /// Number.
    pub number: u32,
    /// Tag, with or without quotes.
    pub etag: String,
}

/// Whether an upload may be put together of these parts: all of them, in order, none missing, each the one that the
/// store holds, as long as was declared, and not longer than `max`.
///
/// # Errors
/// `upload.parts_wrong`, `file.too_large`.
pub fn complete(listed: &[ListedPart], held: &[HeldPart], declared: Option<u64>, max: u64) -> Result<(), Fault> {
    let wrong = |why: String| Err(Fault::new(FaultCode::UploadPartsWrong, why));
    if listed.is_empty() {
        return wrong("no parts are listed".into());
    }
    for (l, n) in listed.iter().zip(1..) {
        if l.number != n {
            return wrong(format!("part {n} is missing or out of order: the list has {} there", l.number));
        }
        let Some(h) = held.iter().find(|h| h.number == n) else {
            return wrong(format!("part {n} is not in the store"));
        };
        if h.etag != l.etag.trim().trim_matches('"') {
            return wrong(format!("part {n} is not the one in the store"));
        }
        if h.size < MIN_PART && listed.len() > usize::try_from(n).unwrap_or(usize::MAX) {
            return wrong(format!("part {n} has {} bytes, and only the last may have less than {MIN_PART}", h.size));
        }
    }
    if let Some(h) = held.iter().find(|h| usize::try_from(h.number).is_ok_and(|n| n > listed.len())) {
        return wrong(format!("part {} is in the store and not in the list", h.number));
    }
    let sum: u64 = held.iter().map(|h| h.size).sum();
    match declared {
        Some(d) if d != sum => wrong(format!("the parts have {sum} bytes together, and {d} were declared")),
        _ if sum > max => {
            let why = format!("the parts have {sum} bytes together, and {max} are taken");
            Err(Fault::new(FaultCode::FileTooLarge, why))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held(sizes: &[u64]) -> Vec<HeldPart> {
        let one = |(n, s): (u32, &u64)| HeldPart { number: n, etag: format!("e{n}"), size: *s };
        (1..).zip(sizes).map(one).collect()
    }

    fn listed(h: &[HeldPart]) -> Vec<ListedPart> {
        h.iter().map(|h| ListedPart { number: h.number, etag: format!("\"{}\"", h.etag) }).collect()
    }

    #[test]
    fn the_limits_of_the_store() {
        assert_eq!(way(0, MAX_OBJECT, None).unwrap_err().code, FaultCode::FileEmpty);
        assert_eq!(way(MAX_SINGLE, MAX_OBJECT, Some(false)), Ok(Way::Single));
        assert_eq!(way(MAX_SINGLE + 1, MAX_OBJECT, Some(false)).unwrap_err().code, FaultCode::FileTooLarge);
        assert!(matches!(way(MAX_SINGLE + 1, MAX_OBJECT, None), Ok(Way::Parts { .. })));
        assert_eq!(way(MAX_OBJECT + 1, u64::MAX, None).unwrap_err().code, FaultCode::FileTooLarge);
        assert_eq!(way(11, 10, None).unwrap_err().code, FaultCode::FileTooLarge);
        assert_eq!(way(1, 10, None), Ok(Way::Single));
        assert_eq!(way(1, 10, Some(true)), Ok(Way::Parts { size: PART, count: 1 }));
    }

    #[test]
    fn names_of_other_ways_in_are_none_of_ours() {
        let n = new_name([7; 16], Some(255));
        assert_eq!(n.as_str(), "web-07070707070707070707070707070707-ff");
        assert_eq!(declared_size(&n), Some(255));
        assert_eq!(parse_name(n.as_str()), Ok(n.clone()));
        assert_eq!(parse_name(&format!("staging/{n}")), Ok(n));
        assert_eq!(declared_size(&new_name([7; 16], None)), None);
        for no in ["dicom-07070707070707070707070707070707", "web-1", "../../x", "web-0707/x", "staging/staging/x"] {
            assert_eq!(parse_name(no).unwrap_err().code, FaultCode::UploadUnknown, "{no}");
        }
    }

    #[test]
    fn media_types() {
        assert_eq!(media_type(None).unwrap(), "application/octet-stream");
        assert_eq!(media_type(Some("")).unwrap(), "application/octet-stream");
        assert_eq!(media_type(Some("text/xml; charset=utf-8")).unwrap(), "text/xml; charset=utf-8");
        for no in ["pdf", "a/b\r\nx: y", "/", "a b/c", &format!("a/{}", "x".repeat(200))] {
            assert!(media_type(Some(no)).is_err(), "{no}");
        }
    }

    #[test]
    fn no_more_parts_than_the_declared_size_can_have() {
        for (size, last) in [(0, 1), (1, 1), (MIN_PART, 1), (MIN_PART + 1, 2), (10 * MIN_PART, 10)] {
            assert_eq!(has_part(last, Some(size)), Ok(()), "{size}");
            assert_eq!(has_part(last + 1, Some(size)).unwrap_err().code, FaultCode::RequestInvalid, "{size}");
        }
        assert_eq!(has_part(MAX_PARTS, None), Ok(()));
        // Whoever keeps to the length that is told, up to the largest file, is within it.
        assert_eq!(has_part(MAX_PARTS, Some(MAX_OBJECT)), Ok(()));
    }

    #[test]
    fn missing_shuffled_and_foreign_parts() {
        let h = held(&[MIN_PART, MIN_PART, 1]);
        let l = listed(&h);
        let whole = 2 * MIN_PART + 1;
        assert_eq!(complete(&l, &h, Some(whole), whole), Ok(()));
        // Where no length was declared, this is the first that is known of it.
        assert_eq!(complete(&l, &h, None, whole - 1).unwrap_err().code, FaultCode::FileTooLarge);
        let refused = |l: &[ListedPart], h: &[HeldPart], d| complete(l, h, d, whole).unwrap_err().code;
        let wrong = FaultCode::UploadPartsWrong;
        assert_eq!(refused(&[], &h, None), wrong);
        assert_eq!(refused(&l[..2], &h, None), wrong, "one left out at the end");
        assert_eq!(refused(&[l[0].clone(), l[2].clone()], &h, None), wrong, "one left out in the middle");
        assert_eq!(refused(&[l[1].clone(), l[0].clone(), l[2].clone()], &h, None), wrong, "shuffled");
        assert_eq!(refused(&[l[0].clone(), l[0].clone()], &h, None), wrong, "twice");
        assert_eq!(refused(&l, &h[..2], None), wrong, "not in the store");
        assert_eq!(refused(&l, &h, Some(2 * MIN_PART + 2)), wrong, "a byte short");
        let mut other = l.clone();
        other[1].etag = "x".into();
        assert_eq!(refused(&other, &h, None), wrong, "another part");
        let short = held(&[1, 1]);
        assert_eq!(refused(&listed(&short), &short, None), wrong, "S3 takes no short part but the last");
    }

    proptest! {
        #[test]
        fn part_sizes_fit_every_limit(size in 1..=MAX_OBJECT) {
            let Ok(Way::Parts { size: part, count }) = way(size, MAX_OBJECT, Some(true)) else { panic!("{size}") };
            prop_assert!((MIN_PART..=MAX_PART).contains(&part));
            prop_assert!((1..=MAX_PARTS).contains(&count));
            prop_assert!(part * u64::from(count) >= size && part * (u64::from(count) - 1) < size);
        }

        #[test]
        fn only_the_whole_list_in_order_completes(n in 1usize..20, drop in proptest::collection::vec(any::<bool>(), 20), swap in 0usize..20) {
            let h = held(&vec![MIN_PART; n]);
            let whole = listed(&h);
            let mut l: Vec<_> = whole.iter().zip(&drop).filter(|(_, d)| !**d).map(|(l, _)| l.clone()).collect();
            if l.len() > 1 { let k = swap % (l.len() - 1); l.swap(k, k + 1); }
            prop_assert_eq!(complete(&l, &h, None, u64::MAX).is_ok(), l == whole);
        }

        #[test]
        fn a_size_comes_back_from_its_name(random: [u8; 16], size in 0..=MAX_OBJECT) {
            let n = new_name(random, Some(size));
            prop_assert_eq!(declared_size(&n), Some(size));
            prop_assert_eq!(parse_name(n.as_str()), Ok(n));
        }
    }
}
