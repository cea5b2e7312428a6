//! 800,000 entries: written and verified in bounded memory. `make test-record` runs it and prints the times.

use std::{fs, time::Instant};

use record::{
    key::{Signers, Trusted},
    store,
    verify::{Known, verify},
    writer::Writer,
};

use crate::{
    fixture::{Log, at},
    fsck,
};

const ENTRIES: u64 = 800_000;
/// The most memory that each may use, in MiB.
const LIMIT: u64 = 64;

/// The most memory that this process had, in MiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[tokio::test]
#[ignore = "a process that `eight_hundred_thousand_entries_in_bounded_memory` starts"]
async fn one_step() {
    let variable = |name: &str| std::env::var(name).expect("another test starts this one");
    let (begin, store) = (Instant::now(), store::open(&variable("CHILD_URL"), []).unwrap());
    let padding = "z".repeat(250);
    if variable("CHILD_STEP") == "write" {
        let mut writer = Writer::open(store, Signers::from_texts([variable("CHILD_SIGNER")]).unwrap(), None).await.unwrap();
        while writer.size() < ENTRIES {
            let first = writer.size();
            writer.append((first..(first + 2000).min(ENTRIES)).map(|number| format!("{number} {padding}").into()).collect()).unwrap();
            writer.publish(at(i64::try_from(first).unwrap())).await.unwrap();
        }
    } else {
        let mut steps = 0;
        let trusted = Trusted::from_texts([variable("CHILD_VERIFIER")]).unwrap();
        let report = verify(store, trusted, &Known::default(), |_| steps += 1).await.unwrap();
        assert_eq!(report.findings, []);
        assert_eq!(report.checkpoint.unwrap().size(), ENTRIES);
        assert_eq!(steps, ENTRIES.div_ceil(256));
    }
    println!("\nmeasured {} MiB, {:.1} s", peak(), begin.elapsed().as_secs_f64());
    assert!(peak() < LIMIT, "{} MiB", peak());
}

#[test]
#[ignore = "takes a minute: `make test-record` runs it"]
fn eight_hundred_thousand_entries_in_bounded_memory() {
    let log = Log::new();
    for step in ["write", "verify"] {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["large::one_step", "--exact", "--ignored", "--nocapture"])
            .env("CHILD_STEP", step)
            .env("CHILD_URL", &log.url)
            .env("CHILD_SIGNER", &log.keys.signer)
            .env("CHILD_VERIFIER", &log.keys.verifier)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{step}: {text}{}", String::from_utf8_lossy(&output.stderr));
        println!("{step}: {}", text.lines().find_map(|line| line.strip_prefix("measured ")).unwrap());
    }
    let begin = Instant::now();
    fsck::accepts(log.folder(), &log.keys.verifier);
    println!("fsck: {:.1} s", begin.elapsed().as_secs_f64());
}
