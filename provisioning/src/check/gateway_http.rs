//! What must hold for the gateway's HTTP.

use super::Read;
use super::finding::{Findings, Severity::Error};
use crate::config::Environment;
use std::net::SocketAddr;

pub(crate) fn check(r: &Read<Environment>, findings: &mut Findings) {
    let Some(http) = &r.value.gateway.http else { return };
    if http.listen.parse::<SocketAddr>().is_err() {
        findings.at(Error, &r.parsed, "gateway.http.listen", "is no address and port", "e.g. 127.0.0.1:8080");
    }
    for (key, url) in [("gateway.http.public_url", &http.public_url), ("gateway.http.oidc.issuer", &http.oidc.issuer)] {
        if url.starts_with("http://") && !loopback(url) {
            let message = format!("{url} is in clear: tokens and permissions to upload would be seen on the way");
            findings.at(Error, &r.parsed, key, message, "https; plain http is for a loopback address");
        }
    }
    if http.oidc.audience.trim().is_empty() {
        let help = "the name that the issuer puts into tokens for this service";
        findings.at(Error, &r.parsed, "gateway.http.oidc.audience", "without an audience any token would do", help);
    }
}

/// Whether a URL names this machine.
pub(super) fn loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, r)| r);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // In front of `@` is whoever logs in, however much it looks like a host.
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|a| a.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::loopback;

    #[test]
    fn this_machine() {
        for yes in ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1/x"] {
            assert!(loopback(yes), "{yes}");
        }
        for no in ["http://127.0.0.1.example.org", "http://localhost@example.org", "http://10.0.0.1", "x"] {
            assert!(!loopback(no), "{no}");
        }
    }
}
