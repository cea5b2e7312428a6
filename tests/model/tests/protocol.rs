use protocol_model::{model::Protocol, setting::{Act, Setting}, world::*};
use stateright::{Checker, Model};

fn run(name: &str, setting: Setting) {
    let start = std::time::Instant::now();
    let checker = Protocol(setting).checker().spawn_bfs().join();
    println!("{name}: {} states, depth {}, {:?}", checker.unique_state_count(), checker.max_depth(), start.elapsed());
    for (property, path) in checker.discoveries() {
        println!("   found {property} {:?}", path.clone().into_actions());
        if property.starts_with("inv") {
            println!("   {:?}", path.into_states().last());
        }
    }
}

#[test]
fn explore() {
    run("nothing", Setting::of(&[]));
    run("revoke", Setting::of(&[Act::Revoke]));
    run("crash", Setting::of(&[Act::Crash(Who::A)]));
    run("crash+revoke", Setting::of(&[Act::Crash(Who::A), Act::Revoke]));
}
