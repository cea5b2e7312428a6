//! The duration of the plugin's commands compared with plain kubectl.

use std::time::Instant;

use control_plane::{program, wait_for_ok};
use serde_json::json;

use crate::{Failure, cluster_fixture::ClusterFixture, figures::Spread};

/// Eligibilities in addition to those of the other measures.
pub const ELIGIBILITIES: usize = 1_000;
/// The number of runs of each command.
const TIMES: usize = 15;
/// How long the operator may take to reconcile all of them.
const SETTLED: std::time::Duration = std::time::Duration::from_mins(2);
/// Eligibilities that are applied per call.
const AT_ONCE: usize = 200;

/// Milliseconds of `kubectl get roleeligibilities`, and of `kubectl jit roles`, with a thousand of them that a user may activate.
pub async fn roles(fixture: &ClusterFixture) -> Result<(Spread, Spread), Failure> {
    let cluster = fixture.plane.cluster();
    let objects: Vec<_> = (0..ELIGIBILITIES)
        .map(|number| {
            json!({
                "apiVersion": "jitrbac.dev/v1alpha1", "kind": "RoleEligibility", "metadata": {"name": format!("many-{number:04}")},
                "spec": {
                    "subjects": [{"kind": "User", "name": "dev"}], "roleRef": {"kind": "ClusterRole", "name": "view"},
                    "namespaces": {"names": [format!("bench-{:03}", number % 100)]}, "policyRef": {"name": "automatic"}, "maxDuration": "1h",
                },
            })
        })
        .collect();
    for some in objects.chunks(AT_ONCE) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": some});
        cluster.apply(control_plane::ADMIN, &list.to_string()).await?.ok()?;
    }
    let columns = ["get", "roleeligibilities", "-o", "jsonpath={range .items[*]}{.status.conditions[0].status}{'\\n'}{end}"];
    wait_for_ok("all eligibilities to be checked", SETTLED, async || {
        let said = cluster.run("dev", &columns).await.and_then(control_plane::Said::ok).map_err(|error| error.to_string())?;
        let ready = said.lines().filter(|line| *line == "True").count();
        if ready >= ELIGIBILITIES { Ok(()) } else { Err(format!("{ready} are ready")) }
    })
    .await?;
    let plugin = program("kubectl-jit")?;
    let (mut plain, mut ours) = (Vec::new(), Vec::new());
    // Alternately, so that other load on the machine affects both.
    for _ in 0..TIMES {
        let start = Instant::now();
        cluster.run("dev", &["get", "roleeligibilities"]).await?.ok()?;
        plain.push(start.elapsed().as_secs_f64() * 1_000.0);
        let start = Instant::now();
        let said = cluster.run_program("dev", &plugin, &["roles"], None).await?.ok()?;
        ours.push(start.elapsed().as_secs_f64() * 1_000.0);
        if said.lines().count() <= ELIGIBILITIES {
            return Err("the plugin does not list all of them".into());
        }
    }
    Ok((Spread::new(plain), Spread::new(ours)))
}
