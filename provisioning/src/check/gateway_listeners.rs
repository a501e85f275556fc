//! Where the gateway listens: it binds all of its addresses or does not start, so that one that is taken keeps
//! everybody out.

use super::Read;
use super::finding::{Findings, Severity::Error};
use crate::config::{Environment, Gateway};
use std::net::SocketAddr;

pub(super) fn check(r: &Read<Environment>, findings: &mut Findings) {
    let all = addresses(&r.value.gateway);
    for (i, (key, address)) in all.iter().enumerate() {
        let others: Vec<&str> = all
            .iter()
            .enumerate()
            .filter(|(j, (_, other))| *j != i && collide(*address, *other))
            .map(|(_, (key, _))| key.as_str())
            .collect();
        if !others.is_empty() {
            let message = format!("{address} cannot be bound together with {}", others.join(" and "));
            findings.at(Error, &r.parsed, key, message, "a port of its own for each listener");
        }
    }
}

/// Every listener by its key. What is no address is found where its listener is looked at.
fn addresses(gateway: &Gateway) -> Vec<(String, SocketAddr)> {
    let http = gateway.http.as_ref().map(|h| ("gateway.http.listen".to_owned(), &h.listen));
    let dicom = gateway.dicom.as_ref().map(|d| ("gateway.dicom.listen".to_owned(), &d.listen));
    let mllp = gateway.mllp.as_ref();
    let tls = mllp.and_then(|m| Some(("gateway.mllp.listen".to_owned(), m.listen.as_ref()?)));
    let plain = mllp.into_iter().flat_map(|m| &m.plain).map(|(org, a)| (format!("gateway.mllp.plain.{org}"), a));
    let all = [http, dicom, tls].into_iter().flatten().chain(plain);
    all.filter_map(|(key, address)| Some((key, address.parse().ok()?))).collect()
}

/// Whether two listeners cannot both have what they ask for. Port 0 is another one each time; an unspecified address
/// stands for every address of the machine.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let (a_ip, b_ip) = (a.ip().to_canonical(), b.ip().to_canonical());
    a.port() != 0 && a.port() == b.port() && (a_ip == b_ip || a_ip.is_unspecified() || b_ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::collide;

    #[test]
    fn one_address_in_two_places() {
        let both = |a: &str, b: &str| collide(a.parse().unwrap(), b.parse().unwrap());
        for (a, b) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("127.0.0.1:80", "[::]:80"),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
        ] {
            assert!(both(a, b) && both(b, a), "{a} {b}");
        }
        for (a, b) in [("127.0.0.1:80", "127.0.0.1:81"), ("127.0.0.1:80", "127.0.0.2:80"), ("0.0.0.0:0", "0.0.0.0:0")] {
            assert!(!both(a, b) && !both(b, a), "{a} {b}");
        }
    }
}
