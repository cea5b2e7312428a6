//! Answers of the API server, read through a [`Sieve`] as they arrive. Memory holds only the requested fields, one object at a time,
//! however long an answer is.

use std::{marker::PhantomData, pin::Pin, time::Duration};

use futures::{AsyncBufRead, AsyncBufReadExt};
use http::Request;
use kube::{
    Client,
    api::{GetParams, ListParams},
    core::Request as Path,
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    kept::Kept,
    sieve::{Broken, Keep, Part, Sieve},
};

/// The body of an answer, as it arrives.
pub type Answer = Pin<Box<dyn AsyncBufRead + Send>>;

/// The metadata of a page of a list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ListMeta {
    /// The `resourceVersion` of the list.
    pub resource_version: Option<String>,
    /// The continue token of the next page; `None` or empty on the last.
    #[serde(rename = "continue")]
    pub next: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Whole {
    metadata: ListMeta,
}

/// Time limit for the start of an answer.
const OPENED_WITHIN: Duration = Duration::from_secs(15);
/// Longest time without data within an answer, except of a watch.
const PAUSED: Duration = Duration::from_secs(10);

/// Sends a request and returns its answer for reading in pieces.
pub async fn open(client: &Client, request: Result<Request<Vec<u8>>, kube::core::request::Error>) -> kube::Result<Answer> {
    let mut request = request.map_err(kube::Error::BuildRequest)?;
    // As kube does for its watches: an answer that is compressed in pieces would be truncated after the first.
    request.headers_mut().entry(http::header::ACCEPT_ENCODING).or_insert(http::HeaderValue::from_static("identity"));
    let opened = tokio::time::timeout(OPENED_WITHIN, client.request_stream(request)).await;
    Ok(Box::pin(opened.map_err(|_| too_slow(OPENED_WITHIN))??))
}

fn too_slow(limit: Duration) -> kube::Error {
    kube::Error::Service(format!("no answer within {limit:?}").into())
}

/// Reads one page of a list and calls `each` with every object, in order.
pub async fn page<K: Kept>(
    client: &Client,
    path: &Path,
    params: &ListParams,
    form: Form,
    mut each: impl FnMut(K),
) -> kube::Result<ListMeta> {
    let request = match form {
        Form::Whole => path.list(params),
        Form::Metadata => path.list_metadata(params),
    };
    let answer = open(client, request).await?;
    let mut failed = None;
    let mut meta = ListMeta::default();
    read_all(answer, Keep::ListOf(K::OBJECT), |part| {
        let read = match part {
            Part::Item(item) => serde_json::from_slice(item).map(&mut each),
            Part::Whole(whole) => serde_json::from_slice(whole).map(|whole: Whole| meta = whole.metadata),
        };
        failed = failed.take().or(read.err());
    })
    .await?;
    failed.map_or(Ok(meta), |error| Err(kube::Error::SerdeError(error)))
}

/// Whether whole objects or their metadata alone are requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Whole objects.
    Whole,
    /// Metadata alone.
    Metadata,
}

/// Reads one object; `None` where it does not exist.
pub async fn get<K: Kept>(client: &Client, path: &Path, name: &str) -> kube::Result<Option<K>> {
    let answer = match open(client, path.get(name, &GetParams::default())).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(None),
        answer => answer?,
    };
    let mut read = None;
    read_all(answer, *K::OBJECT, |part| {
        if let Part::Whole(whole) = part {
            read = Some(serde_json::from_slice(whole));
        }
    })
    .await?;
    read.transpose().map_err(kube::Error::SerdeError)
}

async fn read_all(mut answer: Answer, keep: Keep, mut found: impl FnMut(Part<'_>)) -> kube::Result<()> {
    let mut sieve = Sieve::new(keep);
    loop {
        let piece = tokio::time::timeout(PAUSED, answer.fill_buf()).await.map_err(|_| too_slow(PAUSED))?;
        let piece = piece.map_err(kube::Error::ReadEvents)?;
        if piece.is_empty() {
            return sieve.end(&mut found).map_err(broken);
        }
        let count = piece.len();
        sieve.read(piece, &mut found).map_err(broken)?;
        answer.consume_unpin(count);
    }
}

fn broken(broken: Broken) -> kube::Error {
    kube::Error::SerdeError(serde::de::Error::custom(broken))
}

/// A line of a watch.
#[derive(Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE", bound = "K: DeserializeOwned")]
pub enum Line<K> {
    /// An object that is new to the watch.
    Added(K),
    /// An object that has changed.
    Modified(K),
    /// An object that was deleted, or that the watch's selector no longer matches.
    Deleted(K),
    /// The version that the watch has reached.
    Bookmark(Marker),
    /// Why the watch cannot continue.
    Error(Failure),
}

/// The version that a watch has reached.
#[derive(Debug, Deserialize)]
pub struct Marker {
    /// Holds the version.
    pub metadata: ListMeta,
}

/// Why a watch cannot continue: the fields of a `Status` that are read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// The HTTP status code.
    pub code: u16,
    /// The message for users.
    pub message: String,
}

/// An open watch.
pub struct Lines<K> {
    answer: Answer,
    sieve: Sieve,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kept> Lines<K> {
    /// Reads the lines of an answer.
    #[must_use]
    pub fn new(answer: Answer) -> Self {
        Self { answer, sieve: Sieve::new(Keep::LineOf(K::OBJECT)), kind: PhantomData }
    }

    /// Reads the next piece and calls `each` with the lines that end in it; false at the end. The function is cancel-safe.
    pub async fn read(&mut self, mut each: impl FnMut(Line<K>)) -> kube::Result<bool> {
        let piece = self.answer.fill_buf().await.map_err(kube::Error::ReadEvents)?;
        if piece.is_empty() {
            return Ok(false);
        }
        let count = piece.len();
        let mut failed = None;
        let read = self.sieve.read(piece, &mut |part| {
            if let Part::Whole(line) = part {
                match serde_json::from_slice(line) {
                    Ok(line) => each(line),
                    Err(error) => failed = Some(error),
                }
            }
        });
        self.answer.consume_unpin(count);
        read.map_err(broken)?;
        failed.map_or(Ok(true), |error| Err(kube::Error::SerdeError(error)))
    }
}
