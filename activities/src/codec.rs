//! The payload codec: what leaves this process for Temporal is encrypted, because workflow inputs and results hold
//! file names. AES-256-GCM; the key's id travels in the metadata, so that a rotated key still opens old histories, and a
//! process that was there before the rotation knows that it has to read the keys again.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, Generate, Key, KeyInit, Nonce, Payload as Sealed};
use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use leadline_domain::Fault;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
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

    /// Id of the key that encrypts.
    #[must_use]
    pub fn current(&self) -> &str {
        &self.current
    }

    /// Ids of all keys.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.ciphers.keys().map(String::as_str)
    }
}

/// Where the keys of an environment are.
#[async_trait]
pub trait KeySource: Send + Sync {
    /// The keys as they are now.
    ///
    /// # Errors
    /// `secret.missing`, `credential.*`.
    async fn keys(&self) -> Result<PayloadKeys, Fault>;
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

/// The text of a secret with a further fresh key that encrypts from now on, beside all that are there; and that key's id.
/// `None` if the text holds no keys.
#[must_use]
pub fn rotated(text: &str) -> Option<(String, String)> {
    parse_keys(text)?;
    let mut stored: Stored = serde_json::from_str(text).ok()?;
    let key = Key::<Aes256Gcm>::generate();
    // Counted for people, and random, so that two who rotate at once never give one id to two keys.
    let id = format!("k{}-{}", stored.keys.len() + 1, &random_token()[..8]);
    stored.keys.insert(id.clone(), hex::encode(key));
    stored.current.clone_from(&id);
    Some((serde_json::to_string(&stored).ok()?, id))
}

/// A fresh token: 32 random bytes, hexadecimal.
#[must_use]
pub fn random_token() -> String {
    hex::encode(Key::<Aes256Gcm>::generate())
}

/// How long a key that was asked for and is not there, or could not be asked for, is not asked for again.
const UNKNOWN: Duration = Duration::from_secs(60);
const UNREAD: Duration = Duration::from_secs(1);
/// So many of such keys are remembered. Who can write more ids than that into Temporal is nobody to read keys for.
const REMEMBERED: usize = 64;

/// The codec.
#[derive(Clone)]
pub struct EncryptingCodec(Arc<Inner>);

struct Inner {
    keys: RwLock<Arc<PayloadKeys>>,
    source: Option<Arc<dyn KeySource>>,
    /// Whoever asks holds it: one asks, the others wait.
    unknown: tokio::sync::Mutex<Unknown>,
}

/// Ids that no key had, and until when they are not asked for.
#[derive(Default)]
struct Unknown(BTreeMap<String, Instant>);

impl Unknown {
    fn may_ask(&mut self, id: &str, now: Instant) -> bool {
        self.0.retain(|_, until| *until > now);
        !self.0.contains_key(id) && self.0.len() < REMEMBERED
    }

    fn missed(&mut self, id: &str, until: Instant) {
        self.0.insert(id.to_owned(), until);
    }
}

impl EncryptingCodec {
    /// With these keys.
    #[must_use]
    pub fn new(keys: Arc<PayloadKeys>) -> Self {
        Self::of(keys, None)
    }

    /// With these keys, which are read again when a payload names one that is not among them.
    #[must_use]
    pub fn reloading(keys: PayloadKeys, source: Arc<dyn KeySource>) -> Self {
        Self::of(Arc::new(keys), Some(source))
    }

    fn of(keys: Arc<PayloadKeys>, source: Option<Arc<dyn KeySource>>) -> Self {
        Self(Arc::new(Inner { keys: RwLock::new(keys), source, unknown: tokio::sync::Mutex::default() }))
    }

    /// Reads the keys again if one of this id is not here: once, whoever else asks meanwhile. What encrypts is then the key
    /// that the source says.
    async fn learn(&self, id: &str) {
        let Some(source) = &self.0.source else { return };
        let mut unknown = self.0.unknown.lock().await;
        let now = Instant::now();
        // The first: read by someone who held the lock before.
        if self.0.keys().ciphers.contains_key(id) || !unknown.may_ask(id, now) {
            return;
        }
        match source.keys().await {
            Ok(keys) => {
                if !keys.ciphers.contains_key(id) {
                    unknown.missed(id, now + UNKNOWN);
                }
                tracing::info!(current = keys.current, keys = keys.ciphers.len(), "payload keys read again");
                *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
            }
            Err(fault) => {
                tracing::warn!(%fault, "payload keys could not be read again");
                unknown.missed(id, now + UNREAD);
            }
        }
    }
}

impl Inner {
    fn keys(&self) -> Arc<PayloadKeys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The id of the key that a payload was encrypted with; `None` for one that was not.
fn key_id(p: &Payload) -> Option<String> {
    let encrypted = p.metadata.get("encoding").map(Vec::as_slice) == Some(ENCODING);
    encrypted.then(|| p.metadata.get(KEY_ID).map(|b| String::from_utf8_lossy(b).into_owned()).unwrap_or_default())
}

impl PayloadKeys {
    fn seal(&self, p: &Payload) -> Result<Payload, PayloadConversionError> {
        // The whole payload goes in, its metadata too, so that decoding gives back exactly what was encoded.
        let clear = prost_bytes(p);
        let key = &self.ciphers[&self.current];
        let nonce = Nonce::<Aes256Gcm>::generate();
        let sealed = key
            .encrypt(&nonce, Sealed { msg: &clear, aad: self.current.as_bytes() })
            .map_err(|_| refused("a payload could not be encrypted"))?;
        let mut data = nonce.to_vec();
        data.extend(sealed);
        Ok(Payload {
            metadata: [
                ("encoding".to_owned(), ENCODING.to_vec()),
                (KEY_ID.to_owned(), self.current.clone().into_bytes()),
            ]
            .into(),
            data,
            ..Default::default()
        })
    }

    fn open(&self, p: Payload) -> Result<Payload, PayloadConversionError> {
        let Some(id) = key_id(&p) else { return Ok(p) };
        let key =
            self.ciphers.get(&id).ok_or_else(|| refused("a payload was encrypted with a key that is not here"))?;
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
        let keys = self.0.keys();
        let sealed = payloads.iter().map(|p| keys.seal(p)).collect();
        async move { sealed }.boxed()
    }

    fn decode(
        &self,
        _: &SerializationContextData,
        payloads: Vec<Payload>,
    ) -> BoxFuture<'static, Result<Vec<Payload>, PayloadConversionError>> {
        let codec = self.clone();
        async move {
            let mut keys = codec.0.keys();
            for id in payloads.iter().filter_map(key_id) {
                if !keys.ciphers.contains_key(&id) {
                    codec.learn(&id).await;
                    keys = codec.0.keys();
                }
            }
            payloads.into_iter().map(|p| keys.open(p)).collect()
        }
        .boxed()
    }
}

/// A data converter that encrypts with these keys.
#[must_use]
pub fn data_converter(keys: Arc<PayloadKeys>) -> DataConverter {
    converter(EncryptingCodec::new(keys))
}

/// A data converter with this codec.
#[must_use]
pub fn converter(codec: EncryptingCodec) -> DataConverter {
    DataConverter::new(PayloadConverter::default(), DefaultFailureConverter::default(), codec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(current: &str, ids: &[(&str, u8)]) -> PayloadKeys {
        let keys = ids.iter().map(|(id, b)| ((*id).to_owned(), [*b; 32])).collect();
        PayloadKeys::new(current, &keys).unwrap()
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

    #[test]
    fn a_rotated_secret_has_the_old_keys_and_a_new_one() {
        let first = random_keys();
        let (second, id) = rotated(&first).unwrap();
        let (old, new) = (parse_keys(&first).unwrap(), parse_keys(&second).unwrap());
        assert!(old.current() == "k1" && new.current() == id && id.starts_with("k2-"), "{id}");
        assert_eq!(new.ids().collect::<Vec<_>>(), ["k1", &*id]);
        assert_eq!(new.open(old.seal(&payload()).unwrap()).unwrap(), payload());
        let sealed = new.seal(&payload()).unwrap();
        assert_eq!(key_id(&sealed), Some(id.clone()));
        assert!(old.open(sealed).is_err());
        // Two who rotate the same secret at once never give two keys one id.
        assert_ne!(rotated(&first).unwrap().1, id);
        assert!(rotated(&second).unwrap().1.starts_with("k3-") && rotated("{}").is_none());
    }

    /// The id of the key that encrypts, and of each key the byte that it is made of.
    type Said = (&'static str, Vec<(&'static str, u8)>);

    /// Keys as a test says, and how often they were asked for.
    #[derive(Default)]
    struct Kept {
        keys: std::sync::Mutex<Option<Said>>,
        asked: std::sync::atomic::AtomicUsize,
    }

    impl Kept {
        fn has(&self, current: &'static str, ids: &[(&'static str, u8)]) {
            *self.keys.lock().unwrap() = Some((current, ids.to_vec()));
        }
        fn asked(&self) -> usize {
            self.asked.load(std::sync::atomic::Ordering::SeqCst)
        }
    }

    #[async_trait]
    impl KeySource for Kept {
        async fn keys(&self) -> Result<PayloadKeys, Fault> {
            self.asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            tokio::task::yield_now().await;
            let kept = self.keys.lock().unwrap().clone();
            let unreachable = || Fault::new(leadline_domain::FaultCode::CredentialUnreachable, "no answer");
            kept.map(|(current, ids)| codec(current, &ids)).ok_or_else(unreachable)
        }
    }

    async fn opened(c: &EncryptingCodec, p: &Payload) -> bool {
        c.decode(&SerializationContextData::None, vec![p.clone()]).await.is_ok()
    }

    #[tokio::test]
    async fn an_unknown_key_has_the_keys_read_again_once() {
        let kept = Arc::new(Kept::default());
        kept.has("b", &[("a", 1), ("b", 2)]);
        let c = EncryptingCodec::reloading(codec("a", &[("a", 1)]), kept.clone());
        let seal = |current: &str, b: u8| codec(current, &[(current, b)]).seal(&payload()).unwrap();
        assert!(opened(&c, &seal("a", 1)).await);
        assert_eq!(kept.asked(), 0, "what is known asks nobody");
        // Many at once: one asks, and all are read.
        let new = seal("b", 2);
        assert!(futures::future::join_all((0..20).map(|_| opened(&c, &new))).await.into_iter().all(|o| o));
        assert_eq!(kept.asked(), 1);
        let sealed = c.encode(&SerializationContextData::None, vec![payload()]).await.unwrap();
        assert_eq!(key_id(&sealed[0]).as_deref(), Some("b"), "from now on the new key encrypts");
        assert!(opened(&c, &seal("a", 1)).await);
        // One that nobody has is asked for once, however often it comes.
        for _ in 0..50 {
            assert!(!opened(&c, &seal("x", 9)).await);
        }
        assert_eq!(kept.asked(), 2);
        // Nor is a source that does not answer asked without end; what it had before still opens.
        *kept.keys.lock().unwrap() = None;
        assert!(!opened(&c, &seal("c", 3)).await && opened(&c, &new).await);
        assert_eq!(kept.asked(), 3);
        // Keys that are given to a codec as they are stay as they are.
        let fixed = EncryptingCodec::new(Arc::new(codec("a", &[("a", 1)])));
        assert!(!opened(&fixed, &new).await);
    }

    #[test]
    fn what_is_unknown_is_asked_for_again_after_a_while_and_only_so_much_of_it() {
        let (mut unknown, now) = (Unknown::default(), Instant::now());
        assert!(unknown.may_ask("x", now));
        unknown.missed("x", now + UNKNOWN);
        assert!(!unknown.may_ask("x", now + UNKNOWN - Duration::from_millis(1)));
        assert!(unknown.may_ask("x", now + UNKNOWN) && unknown.0.is_empty());
        for n in 0..REMEMBERED {
            assert!(unknown.may_ask(&n.to_string(), now));
            unknown.missed(&n.to_string(), now + UNKNOWN);
        }
        assert!(!unknown.may_ask("y", now) && unknown.may_ask("y", now + UNKNOWN));
    }
}
