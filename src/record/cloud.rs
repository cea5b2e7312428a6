//! Buckets, through `object_store`, and logs on a web server.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, TryStreamExt, future::BoxFuture};
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, PutMode, RetryConfig, UpdateVersion,
    aws::AmazonS3Builder,
    azure::MicrosoftAzureBuilder,
    client::{HttpClient, HttpConnector},
    gcp::GoogleCloudStorageBuilder,
    path::Path,
};
use reqwest::{StatusCode, Url};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::{
    Error,
    storage::{Object, Storage, Version},
};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The largest object that is read: a bundle of 256 entries of the largest size is 16 MiB.
const MAX_OBJECT: u64 = 32 << 20;

/// The variable with the file of further certificates of authorities, in PEM.
pub(crate) const CERTIFICATES: &str = "SSL_CERT_FILE";

/// A client that trusts the public authorities, and those in the file of the option. The image has no certificates of its own, and reqwest's default
/// needs them.
pub(crate) fn client(certificates: Option<&str>, allow_http: bool) -> Result<reqwest::Client, String> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(file) = certificates {
        let certificates = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| format!("the certificates in '{file}' cannot be read: {error}"))?;
        roots.add_parsable_certificates(certificates);
    }
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(TIMEOUT)
        .connect_timeout(Duration::from_secs(5))
        .redirect(reqwest::redirect::Policy::none())
        .https_only(!allow_http)
        .build()
        .map_err(|error| with_sources(&error))
}

/// Gives `object_store` that client.
#[derive(Debug)]
struct Connector(reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

/// A bucket. The fence is its conditional write.
#[derive(Debug)]
pub(crate) struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Bucket {
    pub(crate) fn new(url: &Url, options: impl IntoIterator<Item = (String, String)>) -> Result<Self, String> {
        // The caller retries too, and reports that.
        let retry = RetryConfig {
            backoff: BackoffConfig { init_backoff: Duration::from_millis(200), max_backoff: Duration::from_secs(3), base: 2.0 },
            max_retries: 3,
            retry_timeout: Duration::from_secs(30),
        };
        let options: Vec<(String, String)> = options.into_iter().collect();
        let option = |name: &str| options.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
        let allow_http = ["AWS_ALLOW_HTTP", "AZURE_ALLOW_HTTP"].into_iter().any(|name| option(name) == Some("true"));
        let connector = Connector(client(option(CERTIFICATES), allow_http)?);
        let keys = options.iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let store: object_store::Result<Arc<dyn ObjectStore>> = match url.scheme() {
            "s3" => keys
                .filter_map(|(name, value)| Some((name.parse().ok()?, value)))
                .fold(AmazonS3Builder::new().with_url(url.as_str()), |builder, (key, value)| builder.with_config(key, value))
                .with_http_connector(connector)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
            "gs" => keys
                .filter_map(|(name, value)| Some((name.parse().ok()?, value)))
                .fold(GoogleCloudStorageBuilder::new().with_url(url.as_str()), |builder, (key, value)| builder.with_config(key, value))
                .with_http_connector(connector)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
            "az" => keys
                .filter_map(|(name, value)| Some((name.parse().ok()?, value)))
                .fold(MicrosoftAzureBuilder::new().with_url(url.as_str()), |builder, (key, value)| builder.with_config(key, value))
                .with_http_connector(connector)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
            scheme => return Err(format!("the scheme '{scheme}' is none of file, s3, gs, az, https")),
        };
        let prefix = Path::from_url_path(url.path()).map_err(|error| error.to_string())?;
        Ok(Self { store: store.map_err(|error| with_sources(&error))?, prefix })
    }

    fn path(&self, path: &str) -> Path {
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        segments.fold(self.prefix.clone(), Path::join)
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
    pub(crate) fn new(url: &Url, options: impl IntoIterator<Item = (String, String)>) -> Result<Self, String> {
        let certificates = options.into_iter().find(|(name, _)| name == CERTIFICATES);
        let client = client(certificates.as_ref().map(|(_, file)| file.as_str()), url.scheme() == "http")?;
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
