//! One object by C-STORE, as a device sends it (PS3.4 annex B, PS3.8).

use super::No;
use super::credentials::{Credentials, connect, connect_tls};
use crate::dicom::peer::{self, Outcome};
use bytes::Bytes;
use leadline_domain::Digest;

/// The digest is that of the file which the object becomes.
pub(super) async fn send(
    address: &str,
    own: Option<&Credentials>,
    ca_file: Option<&str>,
    titles: [&str; 2],
    file: &Bytes,
) -> Result<Digest, No> {
    let outcome = match own {
        Some(own) => peer::store(connect_tls(address, own, ca_file).await?, titles, file).await,
        None => peer::store(connect(address).await?, titles, file).await,
    };
    match outcome {
        Outcome::Stored(digest) => Ok(digest),
        Outcome::Refused(why) => Err(No::Refused(why)),
        Outcome::Unanswered(why) => Err(No::Unanswered(why)),
    }
}
