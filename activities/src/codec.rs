//! The payload codec: what leaves this process for Temporal is encrypted, because workflow inputs and results hold
//! file names. AES-256-GCM; the key's id travels in the metadata, so that a rotated key still opens old histories.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, Generate, Key, KeyInit, Nonce, Payload as Sealed};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;
use temporalio_common::data_converters::{
    DataConverter, DefaultFailureConverter, PayloadCodec, PayloadConversionError, PayloadConverter,
    SerializationContextData,
};
use temporalio_common::protos::temporal::api::common::v1::Payload;

/// Value of the metadata key `encoding` of an encrypted payload, as in the SDKs' own encryption samples.
const ENCODING: &[u8] = b"binary/encrypted";
/// Metadata key of the key's id.
const KEY_ID: &str = "encryption-key-id";
const NONCE: usize = 12;

/// The keys of an environment. Cannot be printed.
pub struct PayloadKeys {
    current: String,
    ciphers: BTreeMap<String, Aes256Gcm>,
}

impl PayloadKeys {
    /// Keys by id; `current` encrypts, all decrypt. A key is 32 bytes. `None` if `current` is not among them.
    #[must_use]
    pub fn new(current: &str, keys: &BTreeMap<String, [u8; 32]>) -> Option<Self> {
        let ciphers: BTreeMap<_, _> = keys.iter().map(|(id, k)| (id.clone(), Aes256Gcm::new(&(*k).into()))).collect();
        ciphers.contains_key(current).then(|| Self { current: current.to_owned(), ciphers })
    }
}

/// The secret's layout: `{"current": "<id>", "keys": {"<id>": "<64 hex digits>"}}`. Old keys stay until no history
/// that was written with them is kept any more.
#[derive(serde::Serialize, serde::Deserialize)]
struct Stored {
    current: String,
    keys: BTreeMap<String, String>,
}

/// Keys from the text of the secret; `None` if it holds none.
#[must_use]
pub fn parse_keys(text: &str) -> Option<PayloadKeys> {
    let stored: Stored = serde_json::from_str(text).ok()?;
    let mut keys = BTreeMap::new();
    for (id, hex_key) in &stored.keys {
        let mut k = [0; 32];
        hex::decode_to_slice(hex_key, &mut k).ok()?;
        keys.insert(id.clone(), k);
    }
    PayloadKeys::new(&stored.current, &keys)
}

/// The text of a secret with one fresh key.
#[must_use]
pub fn random_keys() -> String {
    let key = Key::<Aes256Gcm>::generate();
    let stored = Stored { current: "k1".into(), keys: [("k1".to_owned(), hex::encode(key))].into() };
    serde_json::to_string(&stored).unwrap_or_default()
}

/// A fresh token: 32 random bytes, hexadecimal.
#[must_use]
pub fn random_token() -> String {
    hex::encode(Key::<Aes256Gcm>::generate())
}

/// The codec.
#[derive(Clone)]
pub struct EncryptingCodec(Arc<PayloadKeys>);

impl EncryptingCodec {
    /// With these keys.
    #[must_use]
    pub fn new(keys: Arc<PayloadKeys>) -> Self {
        Self(keys)
    }

    fn seal(&self, p: &Payload) -> Result<Payload, PayloadConversionError> {
        // The whole payload goes in, its metadata too, so that decoding gives back exactly what was encoded.
        let clear = prost_bytes(p);
        let key = &self.0.ciphers[&self.0.current];
        let nonce = Nonce::<Aes256Gcm>::generate();
        let sealed = key
            .encrypt(&nonce, Sealed { msg: &clear, aad: self.0.current.as_bytes() })
            .map_err(|_| refused("a payload could not be encrypted"))?;
        let mut data = nonce.to_vec();
        data.extend(sealed);
        Ok(Payload {
            metadata: [
                ("encoding".to_owned(), ENCODING.to_vec()),
                (KEY_ID.to_owned(), self.0.current.clone().into_bytes()),
            ]
            .into(),
            data,
            ..Default::default()
        })
    }

    fn open(&self, p: Payload) -> Result<Payload, PayloadConversionError> {
        if p.metadata.get("encoding").map(Vec::as_slice) != Some(ENCODING) {
            return Ok(p);
        }
        let id = p.metadata.get(KEY_ID).map(|b| String::from_utf8_lossy(b).into_owned()).unwrap_or_default();
        let key =
            self.0.ciphers.get(&id).ok_or_else(|| refused("a payload was encrypted with a key that is not here"))?;
        let (nonce, sealed) =
            p.data.split_at_checked(NONCE).ok_or_else(|| refused("an encrypted payload is cut short"))?;
        let nonce = Nonce::<Aes256Gcm>::try_from(nonce).map_err(|_| refused("an encrypted payload is cut short"))?;
        let clear = key
            .decrypt(&nonce, Sealed { msg: sealed, aad: id.as_bytes() })
            .map_err(|_| refused("an encrypted payload does not open: it was changed, or the key is another"))?;
        from_prost_bytes(&clear)
    }
}

fn refused(what: &'static str) -> PayloadConversionError {
    PayloadConversionError::EncodingError(what.into())
}

fn prost_bytes(p: &Payload) -> Vec<u8> {
    prost::Message::encode_to_vec(p)
}

fn from_prost_bytes(b: &[u8]) -> Result<Payload, PayloadConversionError> {
    prost::Message::decode(b).map_err(|_| refused("a decrypted payload is not one"))
}

impl PayloadCodec for EncryptingCodec {
    fn encode(
        &self,
        _: &SerializationContextData,
        payloads: Vec<Payload>,
    ) -> BoxFuture<'static, Result<Vec<Payload>, PayloadConversionError>> {
        let sealed = payloads.iter().map(|p| self.seal(p)).collect();
        async move { sealed }.boxed()
    }

    fn decode(
        &self,
        _: &SerializationContextData,
        payloads: Vec<Payload>,
    ) -> BoxFuture<'static, Result<Vec<Payload>, PayloadConversionError>> {
        let opened = payloads.into_iter().map(|p| self.open(p)).collect();
        async move { opened }.boxed()
    }
}

/// A data converter that encrypts with these keys.
#[must_use]
pub fn data_converter(keys: Arc<PayloadKeys>) -> DataConverter {
    DataConverter::new(PayloadConverter::default(), DefaultFailureConverter::default(), EncryptingCodec::new(keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(current: &str, ids: &[(&str, u8)]) -> EncryptingCodec {
        let keys = ids.iter().map(|(id, b)| ((*id).to_owned(), [*b; 32])).collect();
        EncryptingCodec::new(Arc::new(PayloadKeys::new(current, &keys).unwrap()))
    }

    fn payload() -> Payload {
        Payload {
            metadata: [("encoding".to_owned(), b"json/plain".to_vec())].into(),
            data: b"{\"path\":\"DOE_JOHN.dcm\"}".to_vec(),
            ..Default::default()
        }
    }

    #[test]
    fn a_payload_comes_back_and_is_not_readable_on_the_way() {
        let c = codec("a", &[("a", 1)]);
        let sealed = c.seal(&payload()).unwrap();
        assert!(!sealed.data.windows(3).any(|w| w == b"DOE"));
        assert_eq!(c.open(sealed).unwrap(), payload());
    }

    #[test]
    fn an_old_key_still_opens_and_a_foreign_one_does_not() {
        let old = codec("a", &[("a", 1)]).seal(&payload()).unwrap();
        assert_eq!(codec("b", &[("a", 1), ("b", 2)]).open(old.clone()).unwrap(), payload());
        assert!(codec("b", &[("b", 2)]).open(old.clone()).is_err());
        assert!(codec("a", &[("a", 9)]).open(old).is_err());
    }

    #[test]
    fn a_changed_payload_does_not_open() {
        let c = codec("a", &[("a", 1)]);
        let mut sealed = c.seal(&payload()).unwrap();
        *sealed.data.last_mut().unwrap() ^= 1;
        assert!(c.open(sealed).is_err());
        let cut = Payload { data: vec![1, 2], ..c.seal(&payload()).unwrap() };
        assert!(c.open(cut).is_err());
    }

    #[test]
    fn fresh_keys_parse_and_differ() {
        assert!(parse_keys(&random_keys()).is_some());
        assert_ne!(random_keys(), random_keys());
        assert!(parse_keys("{}").is_none());
    }

    #[test]
    fn a_plain_payload_passes() {
        assert_eq!(codec("a", &[("a", 1)]).open(payload()).unwrap(), payload());
    }
}
