//! Where a log is stored: [`open`] takes its URL.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

use reqwest::Url;

use crate::{Error, cloud, folder::Folder};

pub use crate::storage::{Object, Storage, Version};

/// The store of one log. It can be cloned: the clones are the same store.
#[derive(Clone)]
pub struct Store {
    name: String,
    storage: Arc<dyn Storage>,
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Store({})", self.name)
    }
}

impl fmt::Display for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

impl Store {
    /// Returns a store with operations of the caller, for tests.
    pub fn new(name: impl Into<String>, storage: Arc<dyn Storage>) -> Self {
        Self { name: name.into(), storage }
    }

    /// Returns the operations.
    #[must_use]
    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.storage)
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Option<Object>, Error> {
        self.storage.get(path).await
    }
}

/// Returns the options that the environment sets: its variables that start with `AWS_`, `GOOGLE_` or `AZURE_`, and `SSL_CERT_FILE`: a
/// file in PEM with the authorities that are trusted in addition to the public ones.
///
/// Their names are those of the crate `object_store`, such as `AWS_ENDPOINT`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_ALLOW_HTTP`,
/// `GOOGLE_SERVICE_ACCOUNT` and `AZURE_STORAGE_ACCOUNT_NAME`. Credentials of workloads (IRSA, workload identity) need no more than what their
/// webhooks set.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name == cloud::CERTIFICATES || ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|prefix| name.starts_with(prefix)))
        .collect()
}

/// Returns the store at a URL. Nothing is read or written yet.
///
/// | URL | store |
/// |---|---|
/// | `file:///var/lib/record`, or a path | a folder; a writer creates it |
/// | `s3://BUCKET/PREFIX` | Amazon S3, or what speaks its protocol at `AWS_ENDPOINT`; it must have conditional writes |
/// | `gs://BUCKET/PREFIX` | Google Cloud Storage |
/// | `az://CONTAINER/PREFIX` | Azure Blob Storage |
/// | `https://HOST/PREFIX`, `http://HOST/PREFIX` | a web server with the files of the log; read-only |
///
/// # Errors
///
/// [`Error::Invalid`] for a URL or an option that cannot be used.
pub fn open(url: &str, options: impl IntoIterator<Item = (String, String)>) -> Result<Store, Error> {
    let invalid = |reason: &dyn fmt::Display| Error::Invalid(format!("the store '{url}' cannot be used: {reason}"));
    if !url.contains("://") {
        return Ok(Store::new(url, Arc::new(Folder::new(PathBuf::from(url)))));
    }
    let parsed = Url::parse(url).map_err(|error| invalid(&error))?;
    if parsed.password().is_some() || !parsed.username().is_empty() {
        // It would be in every message.
        return Err(Error::Invalid("the URL of a store must have no user name and no password".to_owned()));
    }
    let storage: Arc<dyn Storage> = match parsed.scheme() {
        "file" => Arc::new(Folder::new(parsed.to_file_path().map_err(|()| invalid(&"it has no absolute path"))?)),
        "http" | "https" => Arc::new(cloud::Web::new(&parsed, options).map_err(|error| invalid(&error))?),
        _ => Arc::new(cloud::Bucket::new(&parsed, options).map_err(|error| invalid(&error))?),
    };
    Ok(Store::new(url, storage))
}
