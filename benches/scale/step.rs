//! All measurements at one number of active grants.

use jiff::Timestamp;

use super::{measures::Measure, record::Held};
use crate::{Failure, baseline::a_second, cluster_fixture::ClusterFixture, places::PASSING, process, product};

/// The number of activations between two progress messages.
pub const CHUNK: usize = 1_000;
/// The duration of the activations whose latency is measured: they have ended before the ends are measured.
const SAMPLE: &str = "10s";
/// The minimum number of activations for a rate.
const RATE_OF: usize = 500;

/// Fills up to a number of active grants and measures what is missing. Each figure is recorded at once.
pub async fn measure(fixture: &ClusterFixture, held: &mut Held, active: usize, ended: usize, latency: usize) -> Result<(), Failure> {
    eprintln!("{active} active");
    let rate = fill(fixture, active).await?;
    let known = held.step(active, ended).figures;
    let is_missing = |measure| !known.contains_key(&measure);
    if let Some(rate) = rate {
        held.note(active, ended, &[(Measure::Rate, rate)])?;
    }
    if is_missing(Measure::LeaderMemory) {
        // CPU first: it waits until no record is left to be written.
        let cpu = fixture.idle().await?;
        let memory = fixture.memory().await?;
        let of = |server: &control_plane::Process| process::memory(server.pid().ok_or("a server of the control plane has ended")?);
        let (apiserver, etcd) = (of(fixture.plane.apiserver())?, of(fixture.plane.etcd())?);
        let figures =
            [(Measure::IdleCpu, cpu), (Measure::LeaderMemory, memory), (Measure::ApiserverMemory, apiserver), (Measure::EtcdMemory, etcd)];
        held.note(active, ended, &figures)?;
    }
    if is_missing(Measure::StartUp) {
        let started = fixture.start_up().await?;
        held.note(active, ended, &[(Measure::StartUp, started.took), (Measure::StartedMemory, started.memory)])?;
    }
    if is_missing(Measure::CreatedToSeen) {
        let taken = product::one_by_one(fixture, latency, SAMPLE, || fixture.places.passing()).await?;
        let figures = [(Measure::CreatedToSeen, taken.created_to_seen.at(0.5)), (Measure::AskedToSeen, taken.asked_to_seen.at(0.5))];
        held.note(active, ended, &figures)?;
    }
    if is_missing(Measure::DeadlineToGone) {
        let lateness = product::lateness(fixture, latency).await?;
        held.note(active, ended, &[(Measure::DeadlineToGone, lateness.at(0.5))])?;
    }
    Ok(())
}

/// Activates until this many grants are active. Returns the rate, if there were enough activations for one.
async fn fill(fixture: &ClusterFixture, to: usize) -> Result<Option<f64>, Failure> {
    let (before, start) = (lasting(fixture)?, Timestamp::now());
    if before > to {
        return Err(format!("{before} are active already: remove the directory of the measurement to begin with {to}").into());
    }
    let mut there = before;
    while there < to {
        product::more(fixture, CHUNK.min(to - there)).await?;
        there = lasting(fixture)?;
        eprintln!("  {there} are active");
    }
    let filled = there - before;
    Ok((filled >= RATE_OF).then(|| a_second(filled, start)))
}

/// The number of active grants, without those that end within a minute.
pub fn lasting(fixture: &ClusterFixture) -> Result<usize, Failure> {
    Ok(fixture.active()?.there(|request| !request.contains(PASSING)))
}
