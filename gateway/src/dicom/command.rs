//! Command sets: group 0000 in implicit VR little endian, whatever the data set has (PS3.7 6.3.1, E.1).

use super::uids::trimmed;

/// C-STORE-RQ (PS3.7 E.1-1).
pub(crate) const C_STORE_RQ: u16 = 0x0001;
/// C-ECHO-RQ.
pub(crate) const C_ECHO_RQ: u16 = 0x0030;
/// C-CANCEL-RQ: has no answer of its own.
pub(crate) const C_CANCEL_RQ: u16 = 0x0FFF;
/// Bit of a command field that makes it a response.
pub(crate) const RESPONSE: u16 = 0x8000;
/// `Command Data Set Type` of a message without a data set.
pub(crate) const NO_DATA: u16 = 0x0101;

/// Priority of what does not say another (PS3.7 9.3.1.1).
const MEDIUM: u16 = 0x0000;

const CLASS: u16 = 0x0002;
const FIELD: u16 = 0x0100;
const MESSAGE: u16 = 0x0110;
const RESPONDED: u16 = 0x0120;
const PRIORITY: u16 = 0x0700;
const DATA_TYPE: u16 = 0x0800;
const STATUS: u16 = 0x0900;
const COMMENT: u16 = 0x0902;
const INSTANCE: u16 = 0x1000;

/// A request, as far as it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// What is asked for.
    pub(crate) field: u16,
    /// The peer's number of the message.
    pub(crate) message: u16,
    /// A data set follows.
    pub(crate) data: bool,
    /// Affected SOP class; empty if there is none.
    pub(crate) class: String,
    /// Affected SOP instance; empty if there is none.
    pub(crate) instance: String,
}

/// Reads a command set. `None` for anything that is none: elements of another group, lengths that do not fit, no
/// command field or message id.
pub(crate) fn read(mut bytes: &[u8]) -> Option<Request> {
    let (mut field, mut message, mut data) = (None, None, NO_DATA);
    let (mut class, mut instance) = (String::new(), String::new());
    while !bytes.is_empty() {
        let head = bytes.first_chunk::<8>()?;
        let (group, element) = (u16::from_le_bytes([head[0], head[1]]), u16::from_le_bytes([head[2], head[3]]));
        let len = usize::try_from(u32::from_le_bytes([head[4], head[5], head[6], head[7]])).ok()?;
        let value = bytes.get(8..8usize.checked_add(len)?)?;
        bytes = &bytes[8 + len..];
        if group != 0 {
            return None;
        }
        let short = || <[u8; 2]>::try_from(value).ok().map(u16::from_le_bytes);
        match element {
            FIELD => field = Some(short()?),
            MESSAGE => message = Some(short()?),
            DATA_TYPE => data = short()?,
            CLASS => class = trimmed(value)?.to_owned(),
            INSTANCE => instance = trimmed(value)?.to_owned(),
            _ => {}
        }
    }
    Some(Request { field: field?, message: message?, data: data != NO_DATA, class, instance })
}

/// The answer to a request (PS3.7 9.3.1.2, 9.3.5.2). `comment` is cut to 64 characters.
pub(crate) fn response(to: &Request, status: u16, comment: &str) -> Vec<u8> {
    let mut body = Vec::new();
    put(&mut body, CLASS, uid(&to.class));
    put(&mut body, FIELD, (to.field | RESPONSE).to_le_bytes().into());
    put(&mut body, RESPONDED, to.message.to_le_bytes().into());
    put(&mut body, DATA_TYPE, NO_DATA.to_le_bytes().into());
    put(&mut body, STATUS, status.to_le_bytes().into());
    if !comment.is_empty() {
        let mut text: Vec<u8> = comment.bytes().filter(|b| (0x20..0x7f).contains(b) && *b != b'\\').take(64).collect();
        pad(&mut text, b' ');
        put(&mut body, COMMENT, text);
    }
    if !to.instance.is_empty() {
        put(&mut body, INSTANCE, uid(&to.instance));
    }
    grouped(body)
}

/// A request as a peer sends it (PS3.7 9.3.1.1, 9.3.5.1).
pub(crate) fn request(field: u16, message: u16, class: &str, instance: &str) -> Vec<u8> {
    let mut body = Vec::new();
    put(&mut body, CLASS, uid(class));
    put(&mut body, FIELD, field.to_le_bytes().into());
    put(&mut body, MESSAGE, message.to_le_bytes().into());
    let data: u16 = if field == C_STORE_RQ { 0 } else { NO_DATA };
    if field == C_STORE_RQ {
        put(&mut body, PRIORITY, MEDIUM.to_le_bytes().into());
    }
    put(&mut body, DATA_TYPE, data.to_le_bytes().into());
    if !instance.is_empty() {
        put(&mut body, INSTANCE, uid(instance));
    }
    grouped(body)
}

/// Status of a response; `None` if it is none.
pub(crate) fn status(mut bytes: &[u8]) -> Option<u16> {
    while let Some(head) = bytes.first_chunk::<8>() {
        let len = usize::try_from(u32::from_le_bytes([head[4], head[5], head[6], head[7]])).ok()?;
        let value = bytes.get(8..8usize.checked_add(len)?)?;
        if u16::from_le_bytes([head[2], head[3]]) == STATUS {
            return <[u8; 2]>::try_from(value).ok().map(u16::from_le_bytes);
        }
        bytes = &bytes[8 + len..];
    }
    None
}

/// A command set with its length in front.
fn grouped(mut body: Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    put(&mut out, 0, len.to_le_bytes().into());
    out.append(&mut body);
    out
}

fn uid(text: &str) -> Vec<u8> {
    let mut value = text.as_bytes().to_vec();
    pad(&mut value, 0);
    value
}

fn pad(value: &mut Vec<u8>, with: u8) {
    if value.len() % 2 == 1 {
        value.push(with);
    }
}

fn put(out: &mut Vec<u8>, element: u16, value: Vec<u8>) {
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&element.to_le_bytes());
    out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_is_read_and_answered() {
        let r = read(&request(C_STORE_RQ, 7, "1.2.3", "1.2.3.4")).unwrap();
        assert_eq!((r.field, r.message, r.data), (C_STORE_RQ, 7, true));
        assert_eq!((r.class.as_str(), r.instance.as_str()), ("1.2.3", "1.2.3.4"));
        let answer = response(&r, 0xA700, "store.unreachable");
        assert_eq!(status(&answer), Some(0xA700));
        assert_eq!(answer.len() % 2, 0);
        assert_eq!(u32::from_le_bytes(answer[8..12].try_into().unwrap()) as usize, answer.len() - 12);
    }

    #[test]
    fn what_is_no_command_is_none() {
        let whole = request(C_ECHO_RQ, 1, "1.2", "");
        assert!(read(&whole).is_some());
        assert!(read(&whole[..whole.len() - 1]).is_none());
        assert!(read(&[]).is_none());
        assert!(read(b"\x08\0\x18\0\0\0\0\0").is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (read(&bytes), status(&bytes));
        }
    }
}
