use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::{Error, Result};

/// One call to the API server, from its audit log. The log has every call, at level `Metadata`, without the stage `RequestReceived`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditEvent {
    /// The id that all stages of one call share.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// `ResponseStarted` (of watches), `ResponseComplete` or `Panic`.
    pub stage: String,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, ...
    pub verb: String,
    /// The authenticated user.
    pub user: AuditUser,
    /// The impersonated user.
    pub impersonated_user: Option<AuditUser>,
    /// The user agent.
    pub user_agent: String,
    /// The object or collection of the call; absent for paths that are not a resource.
    pub object_ref: Option<ObjectReference>,
    /// The response status.
    pub response_status: Option<ResponseStatus>,
    /// When the call was received.
    pub request_received_timestamp: Timestamp,
    /// When this stage was reached.
    pub stage_timestamp: Timestamp,
    /// The audit annotations of authorizers, admission plugins and webhooks.
    pub annotations: BTreeMap<String, String>,
}

/// A user in the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AuditUser {
    /// The user name.
    pub username: String,
    /// The uid that the authenticator returned.
    pub uid: String,
    /// The groups that the authenticator returned.
    pub groups: Vec<String>,
}

/// The object or collection of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    /// The plural, such as `rolebindings`.
    pub resource: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// Empty for collections, and for creates by `generateName`.
    pub name: String,
    /// Set where the caller gave a uid as precondition.
    pub uid: String,
    /// Empty for the core group.
    pub api_group: String,
    /// The version in the path.
    pub api_version: String,
    /// `status`, `finalizers`, ... or empty.
    pub subresource: String,
}

/// The response status of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ResponseStatus {
    /// The HTTP status.
    pub code: u16,
    /// `Forbidden`, `NotFound`, ... of a denial.
    pub reason: String,
    /// The message of a denial.
    pub message: String,
}

impl Default for AuditEvent {
    fn default() -> Self {
        Self {
            audit_id: String::new(),
            stage: String::new(),
            request_uri: String::new(),
            verb: String::new(),
            user: AuditUser::default(),
            impersonated_user: None,
            user_agent: String::new(),
            object_ref: None,
            response_status: None,
            request_received_timestamp: Timestamp::UNIX_EPOCH,
            stage_timestamp: Timestamp::UNIX_EPOCH,
            annotations: BTreeMap::new(),
        }
    }
}

impl AuditEvent {
    /// Returns whether the call has ended (the log also has an entry for the start of a watch).
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.stage == "ResponseComplete"
    }

    /// Returns the HTTP status, 0 if there is none.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.response_status.as_ref().map_or(0, |status| status.code)
    }

    /// Returns whether the call would change an object if it succeeds; a dry run does not count.
    #[must_use]
    pub fn is_write(&self) -> bool {
        let writes = matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection");
        writes && !self.request_uri.contains("dryRun=All")
    }

    /// Returns the resource as in RBAC rules: `pods`, `pods/status`; empty for other paths.
    #[must_use]
    pub fn resource(&self) -> String {
        match &self.object_ref {
            None => String::new(),
            Some(object) if object.subresource.is_empty() => object.resource.clone(),
            Some(object) => format!("{}/{}", object.resource, object.subresource),
        }
    }
}

/// A reader of the audit log that remembers its offset.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
    offset: u64,
}

impl AuditLog {
    /// A reader from the beginning of the log.
    #[must_use]
    pub fn from_start(path: PathBuf) -> Self {
        Self { path, offset: 0 }
    }

    /// A reader from the current end of the log.
    pub fn from_now(path: PathBuf) -> Result<Self> {
        let offset = std::fs::metadata(&path).map_err(Error::path("read", &path))?.len();
        Ok(Self { path, offset })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Returns the entries since the last call. The API server writes the entry of a call after its response, so the latest calls may
    /// appear only in the next read.
    pub fn read(&mut self) -> Result<Vec<AuditEvent>> {
        let mut new = Vec::new();
        File::open(&self.path)
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(self.offset))?;
                file.read_to_end(&mut new)
            })
            .map_err(Error::path("read", &self.path))?;
        // The last line may be incomplete.
        let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        new.truncate(whole);
        self.offset += u64::try_from(whole).unwrap_or_default();
        new.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).map_err(Error::from))
            .collect()
    }
}
