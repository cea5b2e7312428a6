//! Additions, repetitions and permutations that gain nothing: invariants 9 and 10, and admission.

use proptest::{prelude::*, sample::Index};

use super::*;
use crate::{admit_decision, approval, policy};
use api::Reason;

/// A change that must bring no request closer to a grant.
#[derive(Clone, Debug)]
enum Attack {
    /// The requester approves the own request, with any groups.
    Requester(Said, bool),
    /// A repetition by the same person.
    Again(Index, i64),
    /// A user who is not listed.
    Outsider(Said),
    /// A decision about another request, or with an outdated digest.
    Malformed(Said, u8),
}

fn attack() -> impl Strategy<Value = Attack> {
    prop_oneof![
        (said(), any::<bool>()).prop_map(|(said, more)| Attack::Requester(said, more)),
        (any::<Index>(), 0..10_i64).prop_map(|(which, later)| Attack::Again(which, later)),
        (said(), parts::anybody()).prop_map(|(said, who)| Attack::Outsider(Said { who: Some(who), ..said })),
        (said(), 0..4_u8).prop_map(|(said, how)| Attack::Malformed(said, how)),
    ]
}

fn approves(said: Said) -> Said {
    Said { verb: Verb::Approve, shown: parts::Shown::Present, about: None, ..said }
}

impl Attack {
    fn on(self, world: World) -> World {
        match self {
            Self::Requester(said, more) => {
                let requester = world.snapshot.request.object.spec.requester.clone();
                let with_groups = |who: Stamp| Stamp { groups: vec![line("leads"), line("security")], ..who };
                let who = requester.map(|who| if more { with_groups(who) } else { who });
                world.hears(&Said { who, ..approves(said) })
            }
            Self::Again(which, later) => {
                let before = &world.snapshot.decisions;
                if before.is_empty() {
                    return world;
                }
                let mut again = which.get(before).clone();
                again.uid = format!("again-{}", before.len());
                again.created += SignedDuration::from_secs(later);
                world.said(again)
            }
            Self::Outsider(said) => {
                let listed = |who: &Stamp| {
                    let stages = world.snapshot.policy.found().map(|p| p.spec.approval.stages.clone()).unwrap_or_default();
                    stages.iter().any(|s| crate::person::is_listed(who, &s.approvers))
                };
                let who = said.who.clone().filter(|who| !listed(who)).unwrap_or_else(|| person("eve", &[]));
                world.hears(&Said { who: Some(who), ..approves(said) })
            }
            Self::Malformed(said, how) => {
                let good = approves(said);
                world.hears(&match how {
                    0 => Said { about: Some("another-uid"), ..good },
                    1 => Said { shown: parts::Shown::Stale, ..good },
                    2 => Said { shown: parts::Shown::Nothing, ..good },
                    _ => Said { seconds: 86_400 + good.seconds.max(0), ..good },
                })
            }
        }
    }
}

/// Asserts that there is no new, earlier or longer grant.
///
/// Approvals that were complete, for a grant whose time has passed, end the request. A later identity that joins two of the approvers makes
/// them one person, and then a further approver completes the approval later. This is no gain: it needs one more approver, and none can
/// approve a request that has ended.
fn no_gain(before: &World, after: &World) -> Result<(), TestCaseError> {
    if before.decide().reason == Reason::DeadlineExceeded {
        return Ok(());
    }
    if let Some((start, length)) = granted(after) {
        let was = granted(before);
        prop_assert!(was.is_some_and(|(s, l)| s <= start && length <= l), "{:?} instead of {was:?}", granted(after));
    }
    Ok(())
}

/// Returns true if an earlier stage lists the decider now than the one in which an approval of theirs counts: their groups have changed. They
/// still count once.
fn is_in_an_earlier_stage(world: &World, decision: &Object<ActivationDecisionSpec>) -> bool {
    let (Some(policy), Some(who)) = (world.snapshot.policy.found(), &decision.spec.decider) else { return false };
    let stage = approval::stage_of(&policy.spec.approval.stages, who);
    let is_later = |counted: &approval::Counted| stage.is_some_and(|stage| stage < counted.stage);
    world.decide().counted.iter().any(|counted| is_later(counted) && world.settings.identities.alike(&counted.approver, who))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn inv_09_order_does_not_matter(world in worlds(), keys in prop::collection::vec(any::<u8>(), 10)) {
        let verdict = world.decide();
        prop_assert_eq!(&world.decide(), &verdict);
        let mut shuffled = world.clone();
        let mut order: Vec<usize> = (0..world.snapshot.decisions.len()).collect();
        order.sort_by_key(|i| keys.get(*i).copied());
        shuffled.snapshot.decisions = order.into_iter().map(|i| world.snapshot.decisions[i].clone()).collect();
        prop_assert_eq!(&shuffled.decide(), &verdict);
        shuffled.snapshot.peers.reverse();
        let verdict = Verdict { message: String::new(), ..verdict };
        prop_assert_eq!(Verdict { message: String::new(), ..shuffled.decide() }, verdict, "but for which of their other requests is named");
    }

    #[test]
    fn inv_09_doing_it_again_changes_nothing(world in worlds()) {
        let first = world.decide();
        let once = world.apply(&first);
        let second = once.decide();
        prop_assert_eq!((second.state, second.reason), (first.state, first.reason));
        let gone = once.snapshot.binding == Binding::Absent;
        prop_assert!(second.binding == BindingAction::Keep || (second.binding == BindingAction::Remove && gone), "{second:?}");
        let twice = once.clone().apply(&second);
        prop_assert_eq!(twice.decide(), second);
        prop_assert_eq!(twice.snapshot.request.record, once.snapshot.request.record);
        prop_assert_eq!(twice.snapshot.binding, once.snapshot.binding);
    }

    #[test]
    fn inv_10_no_attacker_gains(world in fresh_worlds(), attacks in prop::collection::vec(attack(), 1..4)) {
        let after = attacks.into_iter().fold(world.clone(), |world, attack| attack.on(world));
        no_gain(&world, &after)?;
    }

    #[test]
    fn inv_10_what_the_door_refuses_brings_no_grant_nearer(world in fresh_worlds(), said in said(), late in any::<bool>()) {
        // Including the very second of the deadline.
        let mut world = world;
        let created = world.snapshot.request.object.created;
        if let (true, Some(policy)) = (late, world.snapshot.policy.found()) {
            world.now = created + SignedDuration::from(policy::timeout(Some(&policy.spec)));
        }
        world.snapshot.decisions.retain(|d| d.created <= world.now);
        let seconds = world.now.duration_since(created).as_secs();
        let after = world.clone().hears(&Said { seconds, ..said });
        let decision = after.snapshot.decisions.last().unwrap();
        if let Err(refusal) = admit_decision::review(&world.snapshot, decision, &world.settings, world.now) {
            // If stored, these still count: in their own stage, and for no more than was requested.
            let counts = [Reason::StageNotOpen, Reason::DurationTooLong].contains(&refusal.reason)
                || refusal.reason == Reason::AlreadyApproved && is_in_an_earlier_stage(&world, decision);
            if !counts {
                no_gain(&world, &after)?;
            }
        }
    }

    #[test]
    fn what_the_door_takes_counts(world in fresh_worlds(), said in said(), who in parts::anybody(), pick in any::<bool>()) {
        let anonymous = |who: Stamp| Stamp { uid: None, ..who };
        // With names alone no chain is needed to be the same person.
        let mut world = world.request(|r| r.requester = r.requester.take().map(anonymous));
        let digest = world.digest_if_known();
        for decision in &mut world.snapshot.decisions {
            decision.spec.decider = decision.spec.decider.take().map(anonymous);
            decision.spec.digest = digest.as_ref().map(ToString::to_string).filter(|_| decision.spec.digest.is_some());
            decision.created = decision.created.min(world.now);
        }
        // Counted approvals were recorded. An approval that was not may be given again.
        let counted = world.decide().counted;
        let world = world.record(|r| r.approvers = counted.into_iter().map(|counted| counted.approver.username).collect());
        let seconds = world.now.duration_since(world.snapshot.request.object.created).as_secs();
        let who = if pick { Some(who) } else { said.who.clone() };
        let after = world.clone().hears(&Said { seconds, verb: Verb::Approve, who: who.map(anonymous), ..said });
        let decision = after.snapshot.decisions.last().unwrap();
        if admit_decision::review(&world.snapshot, decision, &world.settings, world.now).is_ok() {
            let (before, verdict) = (world.decide(), after.decide());
            prop_assert_eq!(verdict.counted.len(), before.counted.len() + 1);
            let stands = matches!(verdict.state, State::AwaitingApproval | State::Active);
            prop_assert!(stands || verdict.reason == Reason::DurationTooShort, "{verdict:?}");
        }
    }
}
