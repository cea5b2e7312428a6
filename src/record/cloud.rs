//! Buckets, through `object_store`, and logs on a web server.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, TryStreamExt, future::BoxFuture};
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, PutMode, RetryConfig, UpdateVersion, aws::AmazonS3Builder,
    azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder, path::Path,
};
use reqwest::{StatusCode, Url};

use crate::{
    Error,
    store::{Object, Storage, Version},
};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The largest object that is read: a bundle of 256 entries of the largest size is 16 MiB.
const MAX_OBJECT: u64 = 32 << 20;

/// A bucket. The fence is its conditional write.
#[derive(Debug)]
pub(crate) struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Bucket {
    pub(crate) fn new(url: &Url, options: impl IntoIterator<Item = (String, String)>) -> Result<Self, object_store::Error> {
        let client = ClientOptions::new().with_timeout(TIMEOUT).with_connect_timeout(Duration::from_secs(5));
        // The caller retries too, and reports that.
        let retry = RetryConfig {
            backoff: BackoffConfig { init_backoff: Duration::from_millis(200), max_backoff: Duration::from_secs(3), base: 2.0 },
            max_retries: 3,
            retry_timeout: Duration::from_secs(30),
        };
        let options = options.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let prefix = Path::from_url_path(url.path())?;
        let store: Arc<dyn ObjectStore> = match url.scheme() {
            "s3" => {
                let builder = options
                    .filter_map(|(name, value)| Some((name.parse().ok()?, value)))
                    .fold(AmazonS3Builder::new(), |builder, (key, value)| builder.with_config(key, value));
                let allow_http =
                    builder.get_config_value(&object_store::aws::AmazonS3ConfigKey::Client(object_store::ClientConfigKey::AllowHttp));
                Arc::new(
                    builder
                        .with_url(url.as_str())
                        .with_client_options(client.with_allow_http(allow_http.as_deref() == Some("true")))
                        .with_retry(retry)
                        .build()?,
                )
            }
            "gs" => {
                let builder = options
                    .filter_map(|(name, value)| Some((name.parse().ok()?, value)))
                    .fold(GoogleCloudStorageBuilder::new(), |builder, (key, value)| builder.with_config(key, value));
                Arc::new(builder.with_url(url.as_str()).with_client_options(client).with_retry(retry).build()?)
            }
            "az" => {
                let builder = options
                    .filter_map(|(name, value)| Some((name.parse().ok()?, value)))
                    .fold(MicrosoftAzureBuilder::new(), |builder, (key, value)| builder.with_config(key, value));
                Arc::new(builder.with_url(url.as_str()).with_client_options(client).with_retry(retry).build()?)
            }
            scheme => {
                return Err(object_store::Error::NotSupported {
                    source: format!("the scheme '{scheme}' is none of file, s3, gs, az, https").into(),
                });
            }
        };
        Ok(Self { store, prefix })
    }

    fn path(&self, path: &str) -> Path {
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        segments.fold(self.prefix.clone(), |path, segment| path.join(segment))
    }

    async fn put(&self, path: &str, bytes: Bytes, mode: PutMode) -> Result<Option<Version>, Error> {
        match self.store.put_opts(&self.path(path), bytes.into(), mode.into()).await {
            Ok(result) => Ok(Some(Version { tag: result.e_tag, version: result.version })),
            Err(
                object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } | object_store::Error::NotFound { .. },
            ) => Ok(None),
            Err(error) => Err(classify(format!("writing '{path}'"), &error)),
        }
    }
}

fn classify(operation: String, error: &object_store::Error) -> Error {
    let reason = with_sources(error);
    match error {
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => Error::Denied { operation, reason },
        object_store::Error::NotSupported { .. }
        | object_store::Error::NotImplemented { .. }
        | object_store::Error::UnknownConfigurationKey { .. }
        | object_store::Error::InvalidPath { .. } => Error::Invalid(format!("{operation} is not possible in this store: {reason}")),
        _ => Error::Retry { operation, reason },
    }
}

/// The reason is often in the source.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        source = error.source();
    }
    message
}

impl Storage for Bucket {
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Object>, Error>> {
        async move {
            let result = match self.store.get(&self.path(path)).await {
                Ok(result) => result,
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(classify(format!("reading '{path}'"), &error)),
            };
            if result.meta.size > MAX_OBJECT {
                return Err(Error::Invalid(format!(
                    "'{path}' has {} bytes: no file of a log has more than {MAX_OBJECT}",
                    result.meta.size
                )));
            }
            let version = Version { tag: result.meta.e_tag.clone(), version: result.meta.version.clone() };
            let bytes = result.bytes().await.map_err(|error| classify(format!("reading '{path}'"), &error))?;
            Ok(Some(Object { bytes, version }))
        }
        .boxed()
    }

    fn create<'a>(&'a self, path: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<Option<Version>, Error>> {
        self.put(path, bytes, PutMode::Create).boxed()
    }

    fn replace<'a>(&'a self, path: &'a str, bytes: Bytes, version: &'a Version) -> BoxFuture<'a, Result<Option<Version>, Error>> {
        self.put(path, bytes, PutMode::Update(UpdateVersion { e_tag: version.tag.clone(), version: version.version.clone() })).boxed()
    }

    fn delete<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            match self.store.delete(&self.path(path)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(classify(format!("deleting '{path}'"), &error)),
            }
        }
        .boxed()
    }

    fn list<'a>(&'a self, prefix: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        async move {
            use futures::StreamExt;
            let listed = self.store.list(Some(&self.path(prefix))).take(limit);
            let start = if self.prefix.as_ref().is_empty() { 0 } else { self.prefix.as_ref().len() + 1 };
            listed
                .map_ok(|object| object.location.as_ref().get(start..).unwrap_or_default().to_owned())
                .try_collect()
                .await
                .map_err(|error| classify(format!("listing '{prefix}'"), &error))
        }
        .boxed()
    }

    /// A bucket answers when an object is stored.
    fn sync(&self) -> BoxFuture<'_, Result<(), Error>> {
        futures::future::ready(Ok(())).boxed()
    }

    /// A bucket has no locks: the checkpoint's compare-and-swap is the fence.
    fn lock(&self) -> BoxFuture<'_, Result<(), Error>> {
        futures::future::ready(Ok(())).boxed()
    }
}

/// A web server with the files of a log, for readers.
#[derive(Debug)]
pub(crate) struct Web {
    client: reqwest::Client,
    prefix: String,
}

impl Web {
    pub(crate) fn new(url: &Url) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { client, prefix: url.as_str().trim_end_matches('/').to_owned() })
    }

    async fn read(&self, path: &str) -> Result<Option<Object>, Error> {
        let retry = |reason: String| Error::Retry { operation: format!("reading '{path}'"), reason };
        let mut response = self.client.get(format!("{}/{path}", self.prefix)).send().await.map_err(|error| retry(with_sources(&error)))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                return Err(Error::Denied { operation: format!("reading '{path}'"), reason: status.to_string() });
            }
            status => return Err(retry(format!("the server answers {status}"))),
        }
        let mut bytes = bytes::BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| retry(with_sources(&error)))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > MAX_OBJECT {
                return Err(Error::Invalid(format!("'{path}' is larger than any file of a log")));
            }
        }
        Ok(Some(Object { bytes: bytes.freeze(), version: Version { tag: None, version: None } }))
    }
}

fn read_only<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, Error>> {
    futures::future::ready(Err(Error::Invalid("a log on a web server is read-only: give its folder or bucket".to_owned()))).boxed()
}

impl Storage for Web {
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Object>, Error>> {
        self.read(path).boxed()
    }

    fn create<'a>(&'a self, _: &'a str, _: Bytes) -> BoxFuture<'a, Result<Option<Version>, Error>> {
        read_only()
    }

    fn replace<'a>(&'a self, _: &'a str, _: Bytes, _: &'a Version) -> BoxFuture<'a, Result<Option<Version>, Error>> {
        read_only()
    }

    fn delete<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        read_only()
    }

    /// A web server does not list its files.
    fn list<'a>(&'a self, _: &'a str, _: usize) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        futures::future::ready(Ok(Vec::new())).boxed()
    }

    fn sync(&self) -> BoxFuture<'_, Result<(), Error>> {
        read_only()
    }

    fn lock(&self) -> BoxFuture<'_, Result<(), Error>> {
        read_only()
    }
}
