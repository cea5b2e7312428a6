//! The actions of users: request, approve, deny, deactivate, revoke, delete.

use std::time::Duration;

use control_plane::{ADMIN, wait_for_ok};
use jiff::Timestamp;
use kube::api::DeleteParams;

use super::Book;
use crate::{
    env::{Error, Outcome, Scene},
    faults::process_lifetimes::Random,
    grant_helpers::text,
};

/// How long a call may fail because of an injected fault.
pub const BROKEN: Duration = Duration::from_mins(2);
/// The requesters.
const PEOPLE: [&str; 3] = ["dev", "dev-2", "crowd"];
/// How one request is decided and ends.
pub const WAYS: [Way; 8] =
    [Way::Expires, Way::DeactivatedByRequester, Way::Revoked, Way::Deleted, Way::Unbound, Way::Approved, Way::Denied, Way::Withdrawn];

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It expires.
    Expires,
    /// The requester deactivates it.
    DeactivatedByRequester,
    /// Security revokes it.
    Revoked,
    /// The request is deleted.
    Deleted,
    /// The binding is deleted.
    Unbound,
    /// It is approved, and expires.
    Approved,
    /// It is denied.
    Denied,
    /// It is withdrawn while it is pending.
    Withdrawn,
}

impl Way {
    const fn needs_approval(self) -> bool {
        matches!(self, Self::Approved | Self::Denied | Self::Withdrawn)
    }
}

/// The eligibility of a lane for this way.
pub fn offer_of(lane: u64, way: Way) -> String {
    format!("{lane}-{}", if way.needs_approval() { format!("approved-{way:?}") } else { format!("{way:?}") }).to_lowercase()
}

/// Returns whether this eligibility requires approval.
pub fn is_approved(offer: &str) -> bool {
    offer.contains("-approved-")
}

/// Makes one request after the other, each by the next user; returns their number.
pub async fn lane(scene: &Scene, book: &Book, lane: u64, mut random: Random, until: Timestamp) -> Result<usize, Error> {
    let mut asked = 0;
    while Timestamp::now() < until {
        asked += 1;
        let (way, person) = (random.one_of(&WAYS), random.one_of(&PEOPLE));
        let life = One { scene, book, name: format!("{lane}-{asked}-{way:?}").to_lowercase(), offer: offer_of(lane, way), person };
        life.live(way, &mut random).await.map_err(|error| format!("{}: {error}", life.name))?;
    }
    Ok(asked)
}

/// One request.
struct One<'s> {
    scene: &'s Scene,
    book: &'s Book,
    name: String,
    offer: String,
    person: &'s str,
}

impl One<'_> {
    async fn live(&self, way: Way, random: &mut Random) -> Outcome {
        let duration = if way == Way::Expires { 2 + random.below(8) } else { 20 };
        self.book.note(&self.name, |life| life.may_run = !way.needs_approval());
        let request = self.scene.request(&self.name, &self.scene.offered(&self.offer), &format!("{duration}s"));
        // The next attempt learns whether an attempt without a response was executed.
        self.again("ask", async || match self.scene.write(self.person, "rar", &request).await {
            Err(error) if error.to_string().contains("AlreadyExists") => Ok(()),
            done => done.map(|_| ()),
        })
        .await?;
        if way.needs_approval() {
            self.until("AwaitingApproval").await?;
        } else if way != Way::Expires {
            self.until("Active").await?;
            // The random delay is part of the load.
            tokio::time::sleep(Duration::from_millis(random.below(3_000))).await;
        }
        match way {
            Way::Expires => {}
            Way::DeactivatedByRequester => self.taken(async || self.decide(self.person, "Deactivate").await).await?,
            Way::Revoked => self.taken(async || self.decide("security", "Revoke").await).await?,
            Way::Deleted => self.taken(async || self.delete("rar", &self.name).await).await?,
            Way::Unbound => {
                self.taken(async || {
                    let uid = self.scene.get("rar", &self.name).await?.map(|request| text(&request["metadata"]["uid"]));
                    self.delete("rolebinding", &format!("jit-{}", uid.unwrap_or_default())).await
                })
                .await?;
            }
            Way::Approved => {
                self.book.note(&self.name, |life| life.may_run = true);
                self.again("approve", async || self.decide("lead-1", "Approve").await).await?;
            }
            Way::Denied => self.again("deny", async || self.decide("lead-1", "Deny").await).await?,
            Way::Withdrawn => self.again("withdraw", async || self.decide(self.person, "Deactivate").await).await?,
        }
        if way == Way::Deleted { Ok(()) } else { self.scene.until_completed(&self.name, BROKEN).await.map(|_| ()) }
    }

    /// Ends it: until the end is certain, both states are allowed.
    async fn taken(&self, take: impl AsyncFn() -> Outcome) -> Outcome {
        self.book.note(&self.name, |life| life.may_end = true);
        self.again("end", take).await?;
        self.book.note(&self.name, |life| life.taken = Some(Timestamp::now()));
        Ok(())
    }

    /// Creates a decision, unless the request is already completed.
    async fn decide(&self, who: &str, verb: &str) -> Outcome {
        let status = self.scene.status(&self.name).await?;
        if !matches!(status["state"].as_str(), Some("AwaitingApproval" | "Active")) || (verb == "Approve" && status["state"] == "Active") {
            return Ok(());
        }
        let digest = status["digest"].as_str().filter(|_| verb == "Approve");
        self.scene.write(who, "adec", &self.scene.decision(&self.name, verb, digest)).await.map(|_| ())
    }

    async fn delete(&self, kind: &str, name: &str) -> Outcome {
        let api = self.scene.api_as(self.scene.fixture.plane.client(ADMIN).await?, kind).ok_or("there is no API for this kind")?;
        match api.delete(name, &DeleteParams::background()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            done => Ok(done.map(|_| ())?),
        }
    }

    /// Retries until it succeeds: the faults are temporary.
    async fn again(&self, what: &str, attempt: impl AsyncFn() -> Outcome) -> Outcome {
        let what = format!("{} to {what}", self.person);
        Ok(wait_for_ok(&what, BROKEN, async || attempt().await.map_err(|error| error.to_string())).await?)
    }

    /// Waits until it is active or completed.
    async fn until(&self, state: &str) -> Outcome {
        let what = format!("request {} to be {state}", self.name);
        let came = wait_for_ok(&what, BROKEN, async || {
            let status = self.scene.status(&self.name).await.map_err(|error| error.to_string())?;
            let waits =
                matches!(status["state"].as_str(), None | Some("Pending")) || (state == "Active" && status["state"] == "AwaitingApproval");
            if waits { Err(status.to_string()) } else { Ok(()) }
        });
        Ok(came.await?)
    }
}
