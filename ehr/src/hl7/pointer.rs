//! Where a pointer leads, and whether the gateway may follow it: a sender must not be able to make the gateway call
//! whom it likes, nor log on to a file server of the sender's choice.

use leadline_domain::{Fault, FaultCode};
use std::collections::BTreeSet;

/// A pointer that may be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pointer {
    /// An address on a host of the list.
    Web {
        /// Over TLS.
        tls: bool,
        /// The host, in lower case.
        host: String,
        /// TCP port.
        port: u16,
        /// Path and query, as they go into the request.
        path: String,
    },
    /// A file on a server's share: for the organization's own shares to be found in.
    File {
        /// The server, in lower case.
        server: String,
        /// The share's name on the server.
        share: String,
        /// Path below it, `/` between folders.
        path: String,
    },
}

fn no(why: &str) -> Fault {
    Fault::new(FaultCode::PointerRefused, why)
}

impl Pointer {
    /// Reads a pointer and holds it against the list of hosts.
    ///
    /// # Errors
    /// `pointer.refused` for another scheme than https (and http to a loopback address), a host that is not on the list,
    /// user names, and paths that leave their folder.
    pub fn read(text: &str, hosts: &BTreeSet<String>) -> Result<Self, Fault> {
        let unc = text.strip_prefix(r"\\");
        if text.chars().any(char::is_control) || unc.is_none() && text.contains(' ') {
            return Err(no("its address holds white space or control characters"));
        }
        if let Some(rest) = unc {
            return file(&rest.replace('\\', "/"));
        }
        if let Some((_, rest)) = text.split_once("://").filter(|(scheme, _)| scheme.eq_ignore_ascii_case("file")) {
            return file(&decoded(&rest.replace('\\', "/"))?);
        }
        let (tls, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            _ => return Err(no("it is neither an https address nor a file on a share")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split('#').next().unwrap_or_default();
        if authority.contains(['@', '\\', '%']) {
            return Err(no("its host is written in a way that is not followed"));
        }
        let (host, port) = authority_parts(authority, tls)?;
        if !hosts.contains(&host) {
            return Err(no("its host is not on the organization's list"));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let read = Self::Web { tls, host, port, path };
        if tls || read.is_loopback() { Ok(read) } else { Err(no("it is not https")) }
    }

    /// Whether it leads to the machine that follows it, as it is written: a name that resolves to it is another thing.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let Self::Web { host, .. } = self else { return false };
        host == "localhost" || address(host).is_some_and(|ip| ip.is_loopback())
    }
}

/// The host as an address, if it is written as one.
fn address(host: &str) -> Option<std::net::IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn authority_parts(authority: &str, tls: bool) -> Result<(String, u16), Fault> {
    let colon = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
    let (host, port) = match colon {
        Some(at) => (&authority[..at], authority[at + 1..].parse().ok()),
        None => (authority, Some(if tls { 443 } else { 80 })),
    };
    match port {
        Some(port) if !host.is_empty() => Ok((host.to_ascii_lowercase(), port)),
        _ => Err(no("its host is written in a way that is not followed")),
    }
}

/// A file URI has blanks and letters beyond ASCII percent-encoded (RFC 3986, 2.1; RFC 8089, appendix E.3 for shares).
fn decoded(path: &str) -> Result<String, Fault> {
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path.as_bytes());
    while let Some((&first, more)) = rest.split_first() {
        rest = more;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = more.get(..2).and_then(|d| std::str::from_utf8(d).ok()).filter(|d| !d.starts_with('+'));
        let Some(byte) = digits.and_then(|d| u8::from_str_radix(d, 16).ok()) else {
            return Err(no("its address holds a % that encodes nothing"));
        };
        bytes.push(byte);
        rest = &more[2..];
    }
    let text = String::from_utf8(bytes).map_err(|_| no("its path is no UTF-8"))?;
    if text.chars().any(char::is_control) || text.contains('\\') {
        return Err(no("its path holds control characters or backslashes"));
    }
    Ok(text)
}

fn file(rest: &str) -> Result<Pointer, Fault> {
    let mut parts = rest.splitn(3, '/');
    let (server, share, path) = (parts.next(), parts.next(), parts.next());
    match (server, share, path) {
        (Some(server), Some(share), Some(path)) if !server.is_empty() && !share.is_empty() && !path.is_empty() => {
            if path.split('/').any(|p| matches!(p, "" | "." | "..")) || path.contains(['\0', ':', '*', '?']) {
                return Err(no("its path leaves its folder"));
            }
            Ok(Pointer::File { server: server.to_ascii_lowercase(), share: share.into(), path: path.into() })
        }
        _ => Err(no("it names no server, share and path")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Pointer, Fault> {
        Pointer::read(text, &BTreeSet::from(["pacs.example.org".into(), "127.0.0.1".into(), "[::1]".into()]))
    }

    #[test]
    fn hosts_of_the_list_are_followed() {
        let web = |tls, host: &str, port, path: &str| Pointer::Web { tls, host: host.into(), port, path: path.into() };
        assert_eq!(read("https://PACS.example.org/a?b=c#d"), Ok(web(true, "pacs.example.org", 443, "/a?b=c")));
        assert_eq!(read("https://pacs.example.org:8443"), Ok(web(true, "pacs.example.org", 8443, "/")));
        assert_eq!(read("http://127.0.0.1:99/x"), Ok(web(false, "127.0.0.1", 99, "/x")));
        assert_eq!(read("http://[::1]:99/x"), Ok(web(false, "[::1]", 99, "/x")));
    }

    #[test]
    fn everything_else_is_refused_without_saying_what_it_was() {
        for text in [
            "http://pacs.example.org/a",
            "https://169.254.169.254/latest/meta-data",
            "https://evil.example.org/",
            "https://pacs.example.org@evil.example.org/",
            "https://pacs.example.org%2f@evil/",
            "https://pacs.example.org\\@evil/",
            "https://pacs.example.org:x/",
            "https://",
            "ftp://pacs.example.org/a",
            "https://pacs.example.org/a b",
            "https://pacs.example.org/\r\nHost: evil",
            "gopher:evil",
            r"\\server\share",
            r"\\server\share\..\x",
            r"\\server\share\a\\b",
            r"\\server\share\a:stream",
        ] {
            let fault = read(text).unwrap_err();
            assert_eq!(fault.code, FaultCode::PointerRefused, "{text}");
            assert!(!fault.detail.contains("evil"));
        }
    }

    #[test]
    fn files_on_shares_are_taken_apart() {
        let file = Pointer::File { server: "nas1".into(), share: "ecg".into(), path: "2026/Doe John.pdf".into() };
        assert_eq!(read(r"\\NAS1\ecg\2026\Doe John.pdf"), Ok(file));
        assert!(matches!(read("FILE://nas1/ecg/a.pdf"), Ok(Pointer::File { .. })));
        let file = Pointer::File { server: "nas1".into(), share: "ecg".into(), path: "J\u{f6}rg 1%.pdf".into() };
        assert_eq!(read("file://nas1/ecg/J%C3%B6rg%201%25.pdf"), Ok(file));
        for refused in ["%", "%2", "%zz", "%+1", "%ff", "%00", "a%0Ab", "..%2Fx", "..%5Cx", "a\u{7}"] {
            let text = format!("file://nas1/ecg/d/{refused}");
            assert_eq!(read(&text).unwrap_err().code, FaultCode::PointerRefused, "{refused}");
        }
    }
}
