//! Server-side copies within an organization's storages: of what is staged to its place, and from one storage to another.
//!
//! A copy is a multipart upload of its own, of parts copied by the server, completed under If-None-Match. CopyObject
//! would be two requests fewer, but S3 refuses it on a prefix whose bucket policy demands conditional writes (see
//! "Enforce conditional writes on Amazon S3 buckets": "you can't perform copy operations to the bucket or prefix"),
//! and ours does; it also ends at 5 GiB.
//!
//! What is copied in one piece is given up when it fails: it is copied again as fast as it is gone on with. What takes
//! several goes on with the pieces that are there, after a crash too.

use super::errors::{Service, fault, status};
use super::multipart::number;
use super::s3::{S3OrgStore, bulk, conflict, taken};
use crate::ports::content::Content;
use crate::ports::store::Part;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::{StreamExt as _, TryStreamExt as _};
use leadline_domain::{Digest, Fault, FaultCode};
use std::collections::{BTreeMap, HashMap};

/// Pieces copied at once.
const COPIES: usize = 4;

/// An object of the organization: buckets are its own storages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object<'a> {
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
}

/// What is beside the bytes of the copy.
#[derive(Debug, Clone, Default)]
pub(super) struct Dress {
    pub(super) metadata: HashMap<String, String>,
    pub(super) content_type: Option<String>,
}

/// How a copy in pieces finds what an earlier attempt left.
#[derive(Debug, Clone, Copy)]
pub(super) enum Left<'a> {
    /// Any upload to the target will do: whoever began it, what is beside the bytes is the same.
    Any,
    /// Only that of this very copy, since the upload says whose claim it is: its id is noted below `staging/copies/`,
    /// under this name, with what the copy is. (S3 lists uploads without what is beside their bytes.)
    Noted {
        /// Of the staged object.
        name: &'a str,
        /// The copy, in words.
        what: &'a str,
    },
}

/// A copy that is to be made.
pub(super) struct Copy<'a> {
    pub(super) from: Object<'a>,
    /// Of the source, where it may have been written again.
    pub(super) version: Option<&'a str>,
    pub(super) to: Object<'a>,
    /// Of the source, bytes.
    pub(super) size: u64,
    /// What the source was read to be, if it was: pieces that S3 says something else of are refused.
    pub(super) content: Option<&'a Content>,
    pub(super) dress: Dress,
    pub(super) left: Left<'a>,
}

impl Copy<'_> {
    /// As S3 wants it. Keys and versions of ours need no encoding ("URL-ready", S3 says of its versions).
    fn source(&self) -> String {
        let version = self.version.map(|v| format!("?versionId={v}")).unwrap_or_default();
        format!("{}/{}{version}", self.from.bucket, self.from.key)
    }

    /// What the piece of this number, from zero, has to be.
    fn piece(&self, n: usize) -> Option<Digest> {
        self.content.and_then(|c| c.pieces.get(n).copied())
    }
}

/// How one attempt at a copy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    Created,
    /// Something is at the target.
    Taken,
    /// Another conditional write is under way, or the store lost our copy: once more.
    Again,
    /// There is no source.
    NoSource,
}

impl S3OrgStore {
    /// Copies once, if nothing is there.
    pub(super) async fn copy_once(&self, c: &Copy<'_>) -> Result<Made, Fault> {
        let several = !self.pieces.at_once(c.size);
        let (id, held) = if several { self.go_on(c).await? } else { (self.begin_copy(c).await?, BTreeMap::new()) };
        let made = match self.copy_pieces(c, &id, held).await {
            Ok(Some(parts)) => self.complete_once(c, &id, parts).await,
            Ok(None) => Ok(Made::NoSource),
            Err(f) if f.code == FaultCode::StoreUploadLost => Ok(Made::Again),
            Err(f) => Err(f),
        };
        match &made {
            Ok(Made::Created) => {}
            // The next attempt goes on with it.
            Err(f) if several && f.code != FaultCode::StoreChecksumMismatch => return made,
            _ => {
                if let Err(f) = self.abort_in(c.to.bucket, c.to.key, &id).await {
                    // The bucket's lifecycle rule for incomplete uploads takes what stays.
                    tracing::warn!(fault = %f, "a server-side copy was not given up");
                }
            }
        }
        if several && let Left::Noted { name, .. } = c.left {
            self.forget_note(name).await;
        }
        made
    }

    async fn begin_copy(&self, c: &Copy<'_>) -> Result<String, Fault> {
        let begun = self
            .org
            .s3
            .create_multipart_upload()
            .bucket(c.to.bucket)
            .key(c.to.key)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .checksum_type(ChecksumType::Composite)
            .set_metadata(Some(c.dress.metadata.clone()))
            .set_content_type(c.dress.content_type.clone())
            .send()
            .await;
        match begun {
            Ok(m) => Ok(m.upload_id().unwrap_or_default().to_owned()),
            Err(e) => Err(self.fail("CreateMultipartUpload", &e).await),
        }
    }

    /// The upload that an earlier attempt left and what it holds, or a new one.
    async fn go_on(&self, c: &Copy<'_>) -> Result<(String, BTreeMap<u32, Part>), Fault> {
        let left = match c.left {
            Left::Any => self.find_in(c.to.bucket, c.to.key).await?,
            Left::Noted { name, what } => self.noted(name, what).await?,
        };
        if let Some(id) = left {
            match self.parts_in(c.to.bucket, c.to.key, &id).await {
                Ok(held) => return Ok((id, held.into_iter().map(|p| (p.number, p)).collect())),
                Err(f) if f.code == FaultCode::StoreUploadLost => {}
                Err(f) => return Err(f),
            }
        }
        let id = self.begin_copy(c).await?;
        if let Left::Noted { name, what } = c.left {
            self.note(name, what, &id).await?;
        }
        Ok((id, BTreeMap::new()))
    }

    /// `None` if there is no source.
    async fn copy_pieces(
        &self,
        c: &Copy<'_>,
        id: &str,
        mut held: BTreeMap<u32, Part>,
    ) -> Result<Option<Vec<CompletedPart>>, Fault> {
        let pieces = self.pieces.ranges(c.size).into_iter().enumerate().map(|(n, range)| {
            let number = u32::try_from(n + 1).unwrap_or(u32::MAX);
            let there = held.remove(&number).filter(|p| fits(p, range, c.piece(n)));
            (number, range, c.piece(n), there)
        });
        let pieces: Vec<_> = pieces.collect();
        let copied: Vec<Option<CompletedPart>> = futures::stream::iter(pieces)
            .map(|(number, range, wanted, there)| async move {
                match there {
                    Some(p) => Ok(Some(completed(number, Some(p.etag), Some(BASE64.encode(p.sha256))))),
                    None => self.copy_piece(c, id, number, range, wanted).await,
                }
            })
            .buffered(COPIES)
            .try_collect()
            .await?;
        Ok(copied.into_iter().collect())
    }

    async fn copy_piece(
        &self,
        c: &Copy<'_>,
        id: &str,
        n: u32,
        (first, last): (u64, u64),
        wanted: Option<Digest>,
    ) -> Result<Option<CompletedPart>, Fault> {
        let range = (!self.pieces.at_once(c.size)).then(|| format!("bytes={first}-{last}"));
        let copied = self
            .org
            .s3
            .upload_part_copy()
            .bucket(c.to.bucket)
            .key(c.to.key)
            .upload_id(id)
            .copy_source(c.source())
            .set_copy_source_range(range)
            .part_number(number(n))
            .customize()
            .config_override(bulk())
            .send()
            .await;
        let copied = match copied {
            Ok(c) => c,
            Err(e) if matches!(e.code(), Some("NoSuchKey" | "NoSuchVersion")) => return Ok(None),
            Err(e) => return Err(self.fail("UploadPartCopy", &e).await),
        };
        let copied = copied.copy_part_result();
        let said = copied.and_then(|c| c.checksum_sha256()).map(str::to_owned);
        // S3 says what it copied (CopyPartResult); an endpoint that does not is checked by the size only.
        if let (Some(said), Some(wanted)) = (&said, wanted)
            && *said != BASE64.encode(wanted.as_bytes())
        {
            return Err(Fault::new(FaultCode::StoreChecksumMismatch, "UploadPartCopy: the copy has another digest"));
        }
        Ok(Some(completed(n, copied.and_then(|c| c.e_tag()).map(str::to_owned), said)))
    }

    async fn complete_once(&self, c: &Copy<'_>, id: &str, parts: Vec<CompletedPart>) -> Result<Made, Fault> {
        let done = self
            .org
            .s3
            .complete_multipart_upload()
            .bucket(c.to.bucket)
            .key(c.to.key)
            .upload_id(id)
            .if_none_match("*")
            // S3 refuses to make the object when its size is another (x-amz-mp-object-size): no HEAD to verify it.
            .set_mpu_object_size(i64::try_from(c.size).ok())
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .customize()
            .config_override(bulk())
            .send()
            .await;
        match done {
            Ok(_) => Ok(Made::Created),
            Err(e) if taken(&e) => Ok(Made::Taken),
            // For a conflict S3 asks to begin the upload anew, not only to complete it again. A part that is none of the
            // upload's was copied over by another attempt meanwhile.
            Err(e) if conflict(&e) || matches!(e.code(), Some("NoSuchUpload" | "InvalidPart")) => Ok(Made::Again),
            Err(e) if status(&e) == 400 && e.message().is_some_and(|m| m.contains("mp-object-size")) => {
                let said = fault(Service::S3, "CompleteMultipartUpload", &e);
                Err(Fault::new(FaultCode::StoreChecksumMismatch, format!("the copy has another size: {}", said.detail)))
            }
            Err(e) => Err(self.fail("CompleteMultipartUpload", &e).await),
        }
    }

    /// The upload that was noted for this very copy.
    async fn noted(&self, name: &str, what: &str) -> Result<Option<String>, Fault> {
        let text = self.read_note(&note_key(name)).await?.unwrap_or_default();
        Ok(text.split_once('\n').filter(|(of, _)| *of == what).map(|(_, id)| id.to_owned()))
    }

    async fn note(&self, name: &str, what: &str, id: &str) -> Result<(), Fault> {
        self.write_note(&note_key(name), format!("{what}\n{id}")).await
    }

    /// A short text below staging, if it is there.
    pub(super) async fn read_note(&self, key: &str) -> Result<Option<String>, Fault> {
        let get = self.org.s3.get_object().bucket(&self.org.bucket).key(key);
        let got = match get.send().await {
            Ok(g) => g,
            Err(e) if e.code() == Some("NoSuchKey") => return Ok(None),
            Err(e) => return Err(self.fail("GetObject", &e).await),
        };
        let body = got.body.collect().await;
        let body = body.map_err(|_| Fault::new(FaultCode::StoreUnreachable, "GetObject: the body was cut off"))?;
        Ok(Some(String::from_utf8(body.to_vec()).unwrap_or_default()))
    }

    pub(super) async fn write_note(&self, key: &str, text: String) -> Result<(), Fault> {
        let body = ByteStream::from(text.into_bytes());
        match self.org.s3.put_object().bucket(&self.org.bucket).key(key).body(body).send().await {
            Ok(_) => Ok(()),
            Err(e) => Err(self.fail("PutObject", &e).await),
        }
    }

    async fn forget_note(&self, name: &str) {
        if let Err(e) = self.org.s3.delete_object().bucket(&self.org.bucket).key(note_key(name)).send().await {
            // The bucket's rule for what is abandoned in staging takes it.
            let fault = self.fail("DeleteObject", &e).await;
            tracing::warn!(%fault, "the note of a server-side copy was not removed");
        }
    }
}

/// No staged name holds a slash.
fn note_key(name: &str) -> String {
    format!("staging/copies/{name}")
}

/// Whether a part that is there is the piece that is wanted.
fn fits(p: &Part, (first, last): (u64, u64), wanted: Option<Digest>) -> bool {
    p.size == last + 1 - first && wanted.is_none_or(|d| *d.as_bytes() == p.sha256)
}

fn completed(n: u32, etag: Option<String>, sha256: Option<String>) -> CompletedPart {
    CompletedPart::builder().part_number(number(n)).set_e_tag(etag).set_checksum_sha256(sha256).build()
}
