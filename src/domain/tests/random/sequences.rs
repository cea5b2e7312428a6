//! Random sequences of requests, decisions, edits, crashes and clock steps. After each step the plain model must agree.

use proptest::{prelude::*, test_runner::RngSeed};

use super::{
    cluster::{Cluster, Edit, Wish},
    model::{Seen, wrong_grant},
    *,
};
use domain::Span;

/// Number of sequences that each test run executes.
const SEQUENCES: u32 = 10_000;

#[derive(Clone, Debug)]
enum Step {
    Ask(usize, Wish, bool),
    Say(usize, usize, Verb, bool, bool),
    Edit(Edit),
    /// Time passes.
    Pass(i64),
    /// The operator's clock is set.
    Skew(i64),
    /// The controller reconciles every object. A number is the request at which it stops between grant and record.
    Work(Option<usize>),
    /// The revoker runs alone.
    Sweep,
    /// A client removes or changes a binding.
    Tamper(usize, bool),
    /// A client wipes a status.
    Wipe(usize),
    /// A client removes a request.
    Purge(usize),
    /// The guards are removed, or restored.
    Guards(bool),
}

fn wish() -> impl Strategy<Value = Wish> {
    let extends = prop_oneof![4 => Just(None), 1 => (0..4_usize).prop_map(Some)];
    let ahead = prop_oneof![4 => Just(0), 1 => 1..200_i64];
    (any::<bool>(), any::<bool>(), 1..400_u32, ahead, extends, proptest::bool::weighted(0.15)).prop_map(
        |(more, shop, seconds, ahead, extends, emergency)| Wish {
            more,
            shop,
            seconds,
            ahead: if extends.is_some() || emergency { 0 } else { ahead },
            extends: extends.filter(|_| !emergency),
            emergency,
        },
    )
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (1..3_i32).prop_map(Edit::Stages),
        2 => Just(Edit::Automatic),
        1 => Just(Edit::Retitle),
        1 => any::<bool>().prop_map(Edit::Suspend),
        1 => Just(Edit::OnlyBob),
        2 => Just(Edit::Everybody),
        1 => Just(Edit::Shorter),
        1 => Just(Edit::RemoveEligibility),
        1 => Just(Edit::RemovePolicy),
        2 => Just(Edit::WidenRole),
        1 => Just(Edit::RemoveRole),
        1 => Just(Edit::Terminate),
        1 => Just(Edit::RevokeOnRoleChange),
        1 => (0..300_u32).prop_map(Edit::Cooldown),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let verb = prop_oneof![6 => Just(Verb::Approve), 1 => Just(Verb::Deny), 1 => Just(Verb::Revoke), 2 => Just(Verb::Deactivate), 1 => Just(Verb::Review)];
    prop_oneof![
        6 => (0..3_usize, wish(), proptest::bool::weighted(0.7)).prop_map(|(who, wish, door)| Step::Ask(who, wish, door)),
        7 => (0..5_usize, 0..6_usize, verb, proptest::bool::weighted(0.1), proptest::bool::weighted(0.7))
            .prop_map(|(number, who, verb, stale, door)| Step::Say(number, who, verb, stale, door)),
        3 => edit().prop_map(Step::Edit),
        4 => (1..400_i64).prop_map(Step::Pass),
        1 => (-30..30_i64).prop_map(Step::Skew),
        6 => prop_oneof![4 => Just(None), 1 => (0..5_usize).prop_map(Some)].prop_map(Step::Work),
        1 => Just(Step::Sweep),
        1 => (0..5_usize, any::<bool>()).prop_map(|(number, removes)| Step::Tamper(number, removes)),
        1 => (0..5_usize).prop_map(Step::Wipe),
        1 => (0..5_usize).prop_map(Step::Purge),
        1 => any::<bool>().prop_map(Step::Guards),
    ]
}

/// The controller reconciles every object until nothing changes, as it does after each event.
fn settle(cluster: &mut Cluster, seen: &mut Seen, dies_at: Option<usize>) -> Result<(), String> {
    for round in 0..4 {
        cluster.sweep();
        let before = cluster.clone();
        for number in 0..cluster.requests.len() {
            let as_it_was = cluster.clone();
            let dies = round == 0 && dies_at == Some(number);
            if let Some((stored, grant)) = cluster.work(number, !dies) {
                if let Some(why) = wrong_grant(&as_it_was, &stored, &grant) {
                    return Err(format!("{} was granted {why}: {grant:?}", stored.facts.object.name));
                }
                seen.granted(&as_it_was, &grant);
            }
            if dies {
                seen.lost(&as_it_was.requests[number].facts.object.uid);
                return Ok(());
            }
        }
        let unchanged = before.bindings == cluster.bindings
            && before.requests.iter().zip(&cluster.requests).all(|(a, b)| a.facts.record == b.facts.record);
        if unchanged {
            return seen.wrong_state(cluster).map_or(Ok(()), Err);
        }
    }
    Err("it does not come to rest".to_owned())
}

fn play(steps: &[Step]) -> Result<(), String> {
    let (mut cluster, mut seen) = (Cluster::new(), Seen::default());
    for step in steps {
        let some = |number: usize| number % cluster.requests.len().max(1);
        match step {
            Step::Ask(who, wish, door) => cluster.ask(*who, *wish, *door),
            Step::Say(number, who, verb, stale, door) => cluster.say(*number, *who, *verb, *stale, *door),
            Step::Edit(edit) => cluster.edit(*edit),
            Step::Pass(seconds) => cluster.now += seconds,
            Step::Skew(seconds) => cluster.skew = *seconds,
            Step::Work(dies_at) => settle(&mut cluster, &mut seen, *dies_at)?,
            Step::Sweep => cluster.sweep(),
            Step::Tamper(number, removes) => {
                let key = cluster.bindings.keys().nth(number % cluster.bindings.len().max(1)).cloned();
                match (key, removes) {
                    (Some(key), true) => drop(cluster.bindings.remove(&key)),
                    (Some(key), false) => cluster.bindings.get_mut(&key).into_iter().for_each(|binding| {
                        binding.subjects.iter_mut().for_each(|subject| subject.name = "mallory".to_owned());
                    }),
                    (None, _) => {}
                }
            }
            Step::Wipe(number) => {
                // A recorded end is lost with the status. The result must not be a longer grant.
                let some = some(*number);
                if let Some(stored) = cluster.requests.get_mut(some)
                    && !stored.facts.record.state.is_some_and(State::is_terminal)
                {
                    stored.facts.record = Record::default();
                    seen.lost(&stored.facts.object.uid);
                }
            }
            Step::Purge(number) => {
                let some = some(*number);
                if some < cluster.requests.len() {
                    cluster.requests.remove(some);
                }
            }
            Step::Guards(away) => {
                cluster.held = *away;
                let now = at(cluster.now);
                match cluster.spans.last_mut() {
                    Some(last) if *away && last.until.is_none() => last.until = Some(now - SignedDuration::from_secs(1)),
                    Some(last) if !*away && last.until.is_some() => {
                        cluster.spans.push(Span { from: now + SignedDuration::from_secs(1), until: None });
                    }
                    _ => {}
                }
            }
        }
    }
    cluster.held = false;
    settle(&mut cluster, &mut seen, None)
}

/// The same sequences in every run, so that only a change makes it fail. `PROPTEST_RNG_SEED=7` executes others.
fn reproducible() -> ProptestConfig {
    let config = config();
    let rng_seed = if config.rng_seed == RngSeed::Random { RngSeed::Fixed(1) } else { config.rng_seed };
    ProptestConfig { cases: SEQUENCES, rng_seed, ..config }
}

proptest! {
    #![proptest_config(reproducible())]

    #[test]
    fn inv_01_to_16_no_sequence_leaves_a_binding_that_the_plain_model_forbids(steps in prop::collection::vec(step(), 4..28)) {
        let outcome = play(&steps);
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }
}
