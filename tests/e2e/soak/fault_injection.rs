//! The injected faults: processes of the operator and of the control plane, the Lease, calls and watches.

use std::time::Duration;

use control_plane::{ADMIN, Fault, Refusal, Rule};
use jiff::Timestamp;

use super::Book;
use crate::{
    api_faults::WATCHED,
    env::{Error, Outcome, SOON, Scene},
    faults::{holder, process_lifetimes::Random, without},
};

/// The possible faults; some of them are more frequent.
const BREAKS: [Break; 14] = [
    Break::KillOne,
    Break::KillOne,
    Break::KillAll,
    Break::Hang,
    Break::Hang,
    Break::Webhook,
    Break::Lease,
    Break::Lease,
    Break::Watches,
    Break::Slow,
    Break::Refused,
    Break::CutOff,
    Break::ApiServer,
    Break::Store,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Break {
    /// `kill -9` of one controller.
    KillOne,
    /// `kill -9` of all of them.
    KillAll,
    /// One controller is paused, possibly for longer than it holds the Lease.
    Hang,
    /// `kill -9` of the webhook.
    Webhook,
    /// The Lease is deleted.
    Lease,
    /// All watches are interrupted.
    Watches,
    /// All calls of the controllers are slow.
    Slow,
    /// All calls of the controllers fail.
    Refused,
    /// One controller gets no responses.
    CutOff,
    /// `kill -9` of the API server.
    ApiServer,
    /// `kill -9` of the API server and etcd.
    Store,
}

/// Injects one fault after the other; returns their number.
pub async fn until(scene: &Scene, book: &Book, mut random: Random, until: Timestamp) -> Result<usize, Error> {
    let mut faults = 0;
    while Timestamp::now() < until {
        // The random times are part of the fault.
        pause(&mut random, 4_000).await;
        let (what, one) = (random.one_of(&BREAKS), random.one_of(&[0, 1]));
        eprintln!("soak: {} {what:?} {one}", Timestamp::now().strftime("%T%.3f"));
        one_fault(scene, book, what, one, &mut random).await.map_err(|error| format!("{what:?}: {error}"))?;
        faults += 1;
    }
    Ok(faults)
}

async fn one_fault(scene: &Scene, book: &Book, what: Break, one: usize, random: &mut Random) -> Outcome {
    let (fixture, proxy) = (&scene.fixture, scene.fixture.proxy()?);
    let controller = fixture.operator.controller(one)?;
    match what {
        Break::KillOne => {
            let _without = Absent::new(book, vec![one]);
            controller.kill();
            pause(random, 2_000).await;
            controller.start()?;
        }
        Break::KillAll => {
            let _without = Absent::new(book, all(scene));
            fixture.operator.controllers().iter().for_each(|controller| controller.kill());
            pause(random, 1_000).await;
            fixture.operator.controllers().iter().try_for_each(|controller| controller.start())?;
        }
        Break::Hang => {
            let _without = Absent::new(book, vec![one]);
            controller.stop()?;
            pause(random, 9_000).await;
            controller.resume()?;
        }
        Break::Webhook => {
            fixture.operator.webhook().kill();
            pause(random, 2_000).await;
            fixture.operator.webhook().start()?;
            fixture.operator.webhook().wait_until_ready(SOON).await?;
        }
        Break::Lease => {
            // The guards' record is lost with the Lease, and a replica that has read it must write it again. Otherwise it is unknown what
            // was written while no guard was in force, and an admin must review all of it.
            for controller in fixture.operator.controllers() {
                controller.wait_until_ready(SOON).await?;
            }
            holder(fixture).await?;
            scene.kubectl(ADMIN, &["delete", "lease", "jit-rbac-controller", "-n", "jit-system", "--ignore-not-found"]).await?.ok()?;
            holder(fixture).await?;
        }
        Break::Watches => WATCHED.iter().for_each(|resource| proxy.cut(resource)),
        Break::Slow => {
            let _rule = proxy.place(Rule::every(Fault::Delay(Duration::from_millis(300))));
            pause(random, 4_000).await;
        }
        Break::Refused => {
            let _without = Absent::new(book, all(scene));
            let _rule = proxy.place(Rule::every(Fault::Answer(random.one_of(&[Refusal::TOO_MANY, Refusal::INTERNAL, Refusal::CONFLICT]))));
            pause(random, 4_000).await;
        }
        Break::CutOff => {
            let _without = Absent::new(book, vec![one]);
            let fault = if random.below(2) == 0 { Fault::Lose } else { Fault::Hold };
            let _rule = proxy.place(Rule::every(fault).of(&format!("controller-{one}")));
            pause(random, 9_000).await;
        }
        Break::ApiServer | Break::Store => {
            let _without = Absent::new(book, all(scene));
            let (apiserver, etcd) = (fixture.plane.apiserver(), fixture.plane.etcd());
            let both = [apiserver, etcd];
            let servers = if what == Break::ApiServer { &both[..1] } else { &both[..] };
            without(fixture, servers, async || {
                pause(random, 1_000).await;
                Ok(())
            })
            .await?;
        }
    }
    Ok(())
}

fn all(scene: &Scene) -> Vec<usize> {
    (0..scene.fixture.operator.controllers().len()).collect()
}

async fn pause(random: &mut Random, at_most: u64) {
    tokio::time::sleep(Duration::from_millis(random.below(at_most))).await;
}

/// These controllers are disturbed until this is dropped.
struct Absent<'b> {
    book: &'b Book,
    controllers: Vec<usize>,
}

impl<'b> Absent<'b> {
    fn new(book: &'b Book, controllers: Vec<usize>) -> Self {
        for number in &controllers {
            book.lifetimes().killed(*number);
        }
        Self { book, controllers }
    }
}

impl Drop for Absent<'_> {
    fn drop(&mut self) {
        for number in &self.controllers {
            self.book.lifetimes().started(*number);
        }
    }
}
