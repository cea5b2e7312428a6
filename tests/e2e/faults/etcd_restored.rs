//! etcd goes down with the API server, and is restored with its last data or with a much older copy (T36, invariants 17 and 31).

use std::{fs, path::Path, sync::Arc, time::Duration};

use control_plane::{wait_for, wait_for_ok};
use jiff::{SignedDuration, Timestamp};

use super::{alone, start_all, until, without};
use crate::{
    audit::{Calls, measured},
    ensure,
    env::{Env, Outcome, SOON, automatic, eligibility},
};

/// Latest end of a grant that expired meanwhile, after the API server served again.
const AFTER_THEIR_RETURN: SignedDuration = SignedDuration::from_secs(4);
/// How soon the operator notices that an old copy was restored: each replica reads the Lease every second or two.
const NOTICED: SignedDuration = SignedDuration::from_secs(8);
/// Latest end of expired grants that the copy restored, after the start of the operator.
const FROM_START: SignedDuration = SignedDuration::from_secs(2);

fn copy(from: &Path, to: &Path) -> Outcome {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// How soon the webhook knows the content of a restored copy: its watches are interrupted, and all objects are listed again.
const WEBHOOK_KNOWS: Duration = Duration::from_secs(15);

pub async fn f18_webhook_reads_the_data_of_a_restored_etcd(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = alone(&env, "blind").await?;
    let fixture = &scene.fixture;
    let both = [fixture.plane.apiserver(), fixture.plane.etcd()];
    let data = fixture.cluster().directory().join("etcd");
    let saved = fixture.cluster().directory().join("etcd-before");
    without(fixture, &both, async || copy(&data, &saved)).await?;
    // The webhook's caches contain objects that are not in the copy.
    scene.offers(&["lost"], &automatic(), &eligibility("view")).await?;
    scene.granted("dev", "lost", "10m").await?;
    let back = without(fixture, &both, async || {
        fs::remove_dir_all(&data)?;
        copy(&saved, &data)
    })
    .await?;
    // No event tells the webhook that the eligibility is deleted, and it must not accept a request for it.
    let request = scene.request("lost", &scene.offered("lost"), "1m");
    let dry = async || {
        let said = fixture.cluster().run_with("dev", &["create", "--dry-run=server", "-f", "-"], &request.to_string()).await;
        let said = said.map_err(|error| error.to_string())?;
        if said.stderr.contains("EligibilityNotFound") { Ok(()) } else { Err(format!("{}{}", said.stdout, said.stderr)) }
    };
    wait_for_ok("the webhook to know that the eligibility is gone", WEBHOOK_KNOWS, dry).await?;
    measured("webhook observed the content of a restored copy of etcd's data, after it was served", Timestamp::now().duration_since(back));
    Ok(())
}

pub async fn t36_inv_17_inv_31_etcd_is_killed_and_restored_from_an_old_copy(env: Arc<Env>) -> Outcome {
    let (scene, _permit) = alone(&env, "etcd").await?;
    let fixture = &scene.fixture;
    scene.offers(&["dies", "old", "given-back", "lasts", "after"], &automatic(), &eligibility("edit")).await?;
    let mut calls = Calls::from_now(&scene)?;

    // Both die, without warning, at the end of a grant.
    let dies = scene.granted("dev", "dies", "5s").await?;
    let both = [fixture.plane.apiserver(), fixture.plane.etcd()];
    let data = fixture.cluster().directory().join("etcd");
    fixture.plane.etcd().kill();
    let back = without(fixture, &both, async || until(dies.deadline + SignedDuration::from_secs(1)).await).await?;
    scene.until_gone(&dies.binding, SOON).await?;
    let took = calls.removed(&dies.binding).await?.duration_since(back);
    measured("grant that expired while etcd and API server were down, ended after they served again", took.max(SignedDuration::ZERO));
    ensure!(took < AFTER_THEIR_RETURN, "it ended {} ms after they served again", took.as_millis());
    scene.ends_as("dies", "Expired", &["Expired"], SOON).await?;

    // The copy is made while these are active; then they end.
    let old = scene.granted("dev", "old", "30s").await?;
    let given_back = scene.granted("dev", "given-back", "10m").await?;
    let lasts = scene.granted("dev", "lasts", "10m").await?;
    let saved = fixture.cluster().directory().join("etcd-before");
    without(fixture, &both, async || copy(&data, &saved)).await?;
    scene.write("dev", "adec", &scene.decision("given-back", "Deactivate", None)).await?;
    scene.ends_as("given-back", "Deactivated", &[], SOON).await?;
    scene.ends_as("old", "Expired", &["Expired"], Duration::from_mins(1)).await?;
    let after = scene.granted("dev", "after", "10m").await?;
    ensure!(scene.get("rolebinding", &old.binding).await?.is_none(), "it still exists");

    // The copy is restored, and with it the expired grants. Earlier watches do not report any of it, so every controller exits, and is
    // restarted, as a kubelet would do.
    let mut calls = Calls::from_now(&scene)?;
    let back = without(fixture, &both, async || {
        fs::remove_dir_all(&data)?;
        copy(&saved, &data)
    })
    .await?;
    for controller in fixture.operator.controllers() {
        let what = format!("{} to end", controller.name());
        wait_for(&what, SOON, async || controller.pid().is_none().then_some(())).await?;
        let log = controller.log_of_this_start()?;
        ensure!(log.contains("restored to an older state"), "it does not say why it ended: {}", log.lines().last().unwrap_or_default());
    }
    let started = Timestamp::now();
    measured("controllers ended after an old copy of etcd's data was served", started.duration_since(back));
    ensure!(started.duration_since(back) < NOTICED, "they ended {} ms later", started.duration_since(back).as_millis());
    for controller in fixture.operator.controllers() {
        controller.start()?;
    }
    scene.until_gone(&old.binding, SOON).await?;
    let took = calls.removed(&old.binding).await?.duration_since(started);
    measured("binding that an old copy of etcd restored, removed after the start of the first replica", took);
    ensure!(took < FROM_START, "it was removed {} ms after the start", took.as_millis());
    start_all(fixture).await?;
    scene.ends_as("old", "Expired", &["Expired"], SOON).await?;
    // A grant that is active in the copy stays active until its old deadline: its deactivation is lost.
    for granted in [&given_back, &lasts] {
        let again = scene.running(&granted.request).await?;
        ensure!(again.deadline == granted.deadline && again.binding == granted.binding, "{} ends at {}", granted.request, again.deadline);
    }
    // Objects that were created after the copy are lost.
    ensure!(scene.get("rolebinding", &after.binding).await?.is_none(), "there is a grant that is not in the copy");
    ensure!(scene.bindings().await?.len() == 2, "there are {:?}", scene.bindings().await?);
    Ok(())
}
