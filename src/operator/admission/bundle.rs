//! The CA bundle in the webhook configurations. Nothing else in them is changed, and an admission policy enforces that too.

use json_patch::{AddOperation, Patch, PatchOperation, TestOperation, jsonptr::PointerBuf};
use k8s_openapi::{ByteString, api::admissionregistration::v1::WebhookClientConfig};
use serde_json::json;

use api::names::{ADMIN_WEBHOOK, PEOPLE_WEBHOOK};

/// The webhooks whose CA bundle jit-rbac writes.
const OURS: [&str; 2] = [PEOPLE_WEBHOOK, ADMIN_WEBHOOK];

/// Returns the patch after which all of these webhooks trust `authorities`, or the name of a missing webhook.
///
/// Indexes of a list can change between read and write, so the patch tests that each webhook is still at its index.
pub fn patch(webhooks: &[(String, WebhookClientConfig)], authorities: &[u8]) -> Result<Patch, &'static str> {
    if let Some(missing) = OURS.iter().find(|name| !webhooks.iter().any(|(found, _)| found == *name)) {
        return Err(missing);
    }
    let wanted = ByteString(authorities.to_vec());
    let ours = webhooks.iter().enumerate().filter(|(_, (name, _))| OURS.contains(&name.as_str()));
    let different = ours.filter(|(_, (_, client))| client.ca_bundle.as_ref() != Some(&wanted));
    Ok(Patch(
        different
            .flat_map(|(place, (name, _))| {
                let place = place.to_string();
                let (name_of, bundle_of) = (["webhooks", &place, "name"], ["webhooks", &place, "clientConfig", "caBundle"]);
                [
                    PatchOperation::Test(TestOperation { path: PointerBuf::from_tokens(name_of), value: json!(name) }),
                    PatchOperation::Add(AddOperation { path: PointerBuf::from_tokens(bundle_of), value: json!(wanted) }),
                ]
            })
            .collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(name: &str, bundle: Option<&[u8]>) -> (String, WebhookClientConfig) {
        (
            name.to_owned(),
            WebhookClientConfig { ca_bundle: bundle.map(|bytes| ByteString(bytes.to_vec())), ..WebhookClientConfig::default() },
        )
    }

    #[test]
    fn only_our_bundles_that_differ_are_written() {
        let webhooks = [webhook("foreign.example", None), webhook(ADMIN_WEBHOOK, Some(b"old")), webhook(PEOPLE_WEBHOOK, Some(b"new"))];
        let mut stored = json!({"webhooks": webhooks.iter().map(|(name, client)| json!({"name": name, "clientConfig": client, "timeoutSeconds": 5})).collect::<Vec<_>>()});
        let before = stored.clone();
        let patch = patch(&webhooks, b"new").unwrap();
        json_patch::patch(&mut stored, &patch).unwrap();
        assert_eq!(stored["webhooks"][1]["clientConfig"]["caBundle"], json!(ByteString(b"new".to_vec())));
        stored["webhooks"][1]["clientConfig"]["caBundle"] = before["webhooks"][1]["clientConfig"]["caBundle"].clone();
        assert_eq!(stored, before, "nothing else changed");
        let mut moved = json!({"webhooks": [{"name": "a"}, {"name": "b"}, {"name": "c"}]});
        assert!(json_patch::patch(&mut moved, &patch).is_err(), "another webhook stands there now");
    }

    #[test]
    fn what_is_right_is_left_alone_and_what_is_missing_is_named() {
        let right = [webhook(PEOPLE_WEBHOOK, Some(b"new")), webhook(ADMIN_WEBHOOK, Some(b"new"))];
        assert!(patch(&right, b"new").unwrap().is_empty());
        assert_eq!(patch(&right[..1], b"new"), Err(ADMIN_WEBHOOK));
    }
}
