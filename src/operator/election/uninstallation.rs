//! A Lease that an uninstallation holds: no replica grants while it is held, and all of them still end grants.
//!
//! A holder that renews the Lease would have to outlive the uninstallation. Therefore the Lease also names the installation, by the UID of its
//! ServiceAccount, and the replicas of that installation leave the Lease alone for [`HOLD`]. A later installation has another ServiceAccount
//! and takes the Lease as usual.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;

use api::names::UNINSTALLING;
use kube_io::{access::our_uid, call::ReadError};

/// How long replicas leave the Lease to an uninstallation that neither ends nor fails, such as one whose process was killed.
pub const HOLD: Duration = Duration::from_mins(10);

/// Returns whether the Lease is held to uninstall the installation of this process. Without the UID of this process or of the uninstallation
/// that is assumed.
pub(super) async fn is_ours(client: &Client, lease: &Lease) -> Result<bool, ReadError> {
    let Some(uninstalled) = lease.metadata.annotations.as_ref().and_then(|annotations| annotations.get(UNINSTALLING)) else {
        return Ok(false);
    };
    Ok(uninstalled.is_empty() || our_uid(client).await?.is_none_or(|uid| uid == *uninstalled))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use kube::{api::ObjectMeta, client::Body};
    use serde_json::json;

    use super::*;

    /// Returns the client of a user with this UID.
    fn client(uid: &'static str) -> Client {
        let service = tower::service_fn(move |_: Request<Body>| async move {
            let answer = json!({"status": {"userInfo": {"username": "operator", "uid": uid}}});
            Ok::<_, Infallible>(Response::new(Body::from(answer.to_string().into_bytes())))
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn only_the_installation_that_is_uninstalled_leaves_the_lease_alone() {
        let lease = |uninstalled: Option<&str>| Lease {
            metadata: ObjectMeta {
                annotations: uninstalled.map(|uid| [(UNINSTALLING.to_owned(), uid.to_owned())].into()),
                ..ObjectMeta::default()
            },
            spec: None,
        };
        for (uninstalled, own, wanted) in
            [(None, "a", false), (Some("a"), "a", true), (Some("a"), "b", false), (Some("a"), "", true), (Some(""), "b", true)]
        {
            assert_eq!(is_ours(&client(own), &lease(uninstalled)).await.unwrap(), wanted, "{uninstalled:?} for {own}");
        }
    }
}
