//! Upgrades by real Helm.

use serde_json::{Value, json};

use super::{
    Floor, Outcome,
    guards::write_bundles,
    plane::{NAMESPACE, RELEASE, WEBHOOK, helm, passes},
};

const CONFIGURATIONS: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// The CA bundles and the Secret's data belong to the webhook. Helm applies its objects on the server or in the client, and
/// takes back what it once wrote itself: it must never have written these.
pub async fn an_upgrade_takes_nothing_back_that_the_webhook_wrote(_: &Floor) -> Outcome {
    // Upgrades put the webhooks back into place, which the other journeys have out of the way.
    let floor = Floor::with_webhooks().await?;
    let mut secret = passes("the Secret", floor.get("Secret", NAMESPACE, "jit-rbac-webhook-tls").await)?;
    if secret["data"] != Value::Null {
        return Err(format!("the chart wrote into the Secret: {secret}"));
    }
    secret["data"] = json!({"ca.crt": "YQ==", "tls.key": "Yg=="});
    passes("its data", floor.replace(WEBHOOK, "Secret", &secret).await)?;
    let mut written = Vec::new();
    for kind in CONFIGURATIONS {
        let configuration = passes("a CA bundle", write_bundles(&floor, kind).await)?;
        written.push(bundles(&configuration));
    }
    for (seconds, more) in [
        (4, &["--server-side=true"][..]),
        (3, &["--server-side=false"]),
        (2, &["--server-side=auto"]),
        (1, &["--server-side=true", "--force-conflicts"]),
    ] {
        let set = format!("webhook.timeoutSeconds={seconds}");
        helm(floor.cluster(), &[&["--set", &set], more].concat()).await?;
        for (kind, bundle) in CONFIGURATIONS.iter().zip(&written) {
            let after = passes("the configuration", floor.get(kind, "", RELEASE).await)?;
            if after["webhooks"][0]["timeoutSeconds"] != seconds || bundles(&after) != *bundle {
                return Err(format!("after {more:?}: {after}"));
            }
        }
        let after = passes("the Secret", floor.get("Secret", NAMESPACE, "jit-rbac-webhook-tls").await)?;
        if after["data"] != secret["data"] {
            return Err(format!("after {more:?}: {after}"));
        }
    }
    Ok(())
}

fn bundles(configuration: &Value) -> Vec<Value> {
    let webhooks = configuration["webhooks"].as_array().into_iter().flatten();
    webhooks.map(|webhook| webhook["clientConfig"]["caBundle"].clone()).filter(Value::is_string).collect()
}
