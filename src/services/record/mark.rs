//! The Lease that says what is recorded. The controller deletes completed requests by it, and `kubectl jit record` compares the log with it.

use api::names::{RECORD_CHECKPOINT, RECORDED_VERSION};
use jiff::Timestamp;
use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use kube_io::call::{read, write};
use record::checkpoint::TreeHead;
use serde_json::json;

use super::{context::Context, error::RecordError};

/// What is recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// The published checkpoint.
    pub head: Option<TreeHead>,
    /// The version up to which every transition of a request is in it. None: not known yet.
    pub version: Option<u64>,
    /// When everything that was observed was recorded.
    pub time: Timestamp,
}

impl Context {
    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.settings.namespace)
    }

    /// Returns the checkpoint that the Lease remembers.
    pub(super) async fn remembered(&self) -> Result<Option<TreeHead>, RecordError> {
        let lease = read(|| format!("Lease '{}'", self.settings.lease), self.leases().get_opt(&self.settings.lease)).await?;
        let text = lease.and_then(|lease| lease.metadata.annotations).and_then(|mut all| all.remove(RECORD_CHECKPOINT));
        Ok(text.map(|text| text.parse()).transpose()?)
    }

    /// Writes the mark.
    pub(super) async fn write_mark(&self, mark: &Mark) -> Result<(), RecordError> {
        let annotations = json!({
            RECORD_CHECKPOINT: mark.head.map(|head| head.to_string()),
            RECORDED_VERSION: mark.version.map(|version| version.to_string()),
        });
        let patch = json!({
            "metadata": {"annotations": annotations},
            "spec": {"holderIdentity": self.identity, "renewTime": MicroTime(mark.time)},
        });
        let name = &self.settings.lease;
        let params = PatchParams { field_manager: Some("jit-rbac-record".to_owned()), ..PatchParams::default() };
        write(|| format!("write Lease '{name}'"), self.leases().patch(name, &params, &Patch::Merge(patch))).await?;
        Ok(())
    }
}
