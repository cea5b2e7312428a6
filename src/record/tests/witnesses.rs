//! A real witness, litewitness: it cosigns what continues the log, and nothing else.

use std::{
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use record::{
    key::{KeyPair, Signers},
    proof,
    witness::{Witness, WitnessKey},
    writer::Writer,
};
use tempfile::TempDir;

use crate::{
    fixture::{Log, ORIGIN, at, leaf},
    fsck::{accepts, tool},
};

const NAME: &str = "witness.example.com/one";

/// A witness with a key of its own in an SSH agent, as litewitness wants it.
struct Lite {
    processes: Vec<Child>,
    url: String,
    key: String,
    _folder: TempDir,
}

impl Lite {
    fn start(keys: &KeyPair) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let run = |command: &mut Command| {
            let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
            assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path("key")));
        let fingerprint = run(Command::new("ssh-keygen").args(["-l", "-f"]).arg(path("key.pub")));
        let fingerprint = fingerprint.split(' ').nth(1).unwrap().to_owned();
        let public = std::fs::read_to_string(path("key.pub")).unwrap();
        let blob = BASE64_STANDARD.decode(public.split(' ').nth(1).unwrap()).unwrap();
        let encoded = [&[4], &blob[blob.len() - 32..]].concat();
        let key = format!("{NAME}+{:08x}+{}", signed_note::key_id(NAME, &encoded), BASE64_STANDARD.encode(encoded));

        run(tool("witnessctl").args(["add-log", "-origin", ORIGIN, "-db"]).arg(path("db")));
        run(tool("witnessctl").args(["add-key", "-origin", ORIGIN, "-key", &keys.verifier, "-db"]).arg(path("db")));
        let quiet = |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut processes = vec![quiet(Command::new("ssh-agent").arg("-D").arg("-a").arg(path("agent")))];
        wait("ssh-agent", || UnixStream::connect(path("agent")).is_ok());
        run(Command::new("ssh-add").arg("-q").arg(path("key")).env("SSH_AUTH_SOCK", path("agent")));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let listen = format!("127.0.0.1:{port}");
        let flag = |name: &str, path: &Path| format!("-{name}={}", path.display());
        processes.push(quiet(tool("litewitness").args([
            &flag("db", &path("db")),
            &flag("ssh-agent", &path("agent")),
            &format!("-key={fingerprint}"),
            &format!("-name={NAME}"),
            &format!("-listen={listen}"),
        ])));
        wait("litewitness", || TcpStream::connect(&listen).is_ok());
        Self { processes, url: format!("http://{listen}"), key, _folder: folder }
    }

    fn witness(&self) -> Witness {
        Witness::new(&self.url, &self.key, None).unwrap()
    }
}

impl Drop for Lite {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn wait(what: &str, mut ready: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !ready() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what} does not start");
        sleep(Duration::from_millis(10));
    }
}

async fn publish(writer: &mut Writer, until: u64) {
    writer.append((writer.size()..until).map(leaf).collect()).unwrap();
    writer.publish(at(0)).await.unwrap();
}

#[tokio::test]
async fn a_witness_cosigns_what_continues_the_log_and_no_other_version() {
    let log = Log::new();
    let lite = Lite::start(&log.keys);
    let key = WitnessKey::parse(&lite.key).unwrap();
    let mut writer = log.writer(None).await.unwrap();
    writer.set_witnesses(vec![lite.witness()]);
    for until in [1, 256, 700, 702] {
        publish(&mut writer, until).await;
        assert_eq!(writer.unwitnessed(), [""; 0]);
        assert!(key.cosigned(writer.published().unwrap()).is_some());
    }
    drop(writer);
    // A process that knows nothing of the witness's last size.
    let mut writer = log.writer(None).await.unwrap();
    writer.set_witnesses(vec![lite.witness()]);
    publish(&mut writer, 1000).await;
    assert_eq!(writer.unwitnessed(), [""; 0]);
    drop(writer);
    let reader = log.reader().await.unwrap();
    assert!(key.cosigned(reader.checkpoint()).is_some());
    let text = reader.proof(5).await.unwrap();
    assert!(key.cosigned(&proof::check(&leaf(5), &text, &log.trusted()).unwrap().checkpoint).is_some(), "a proof has the cosignature");
    accepts(log.folder(), &log.keys.verifier);

    // The log was restarted with its key: shorter, and then longer than what the witness cosigned.
    let other = Log::with_keys(log.keys.clone());
    let mut writer = other.writer(None).await.unwrap();
    writer.set_witnesses(vec![lite.witness()]);
    writer.append((1..500).map(leaf).collect()).unwrap();
    let checkpoint = writer.publish(at(0)).await.unwrap();
    assert!(writer.unwitnessed()[0].contains("cut off"), "{:?}", writer.unwitnessed());
    assert!(key.cosigned(&checkpoint).is_none());
    writer.append((1..1000).map(leaf).collect()).unwrap();
    writer.publish(at(0)).await.unwrap();
    assert!(writer.unwitnessed()[0].contains("422"), "{:?}", writer.unwitnessed());
}

#[tokio::test]
async fn a_witness_that_does_not_answer_does_not_stop_the_log() {
    let log = Log::new();
    let lite = Lite::start(&log.keys);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let witnesses = vec![Witness::new(&format!("http://{}", silent.local_addr().unwrap()), &lite.key, None).unwrap(), lite.witness()];
    let mut writer = Writer::open(log.store(), Signers::from_texts([&log.keys.signer]).unwrap(), None).await.unwrap();
    writer.set_witnesses(witnesses);
    let begin = Instant::now();
    publish(&mut writer, 3).await;
    assert_eq!(writer.unwitnessed().len(), 1, "{:?}", writer.unwitnessed());
    assert!(begin.elapsed() < Duration::from_secs(15));
    assert!(WitnessKey::parse(&lite.key).unwrap().cosigned(writer.published().unwrap()).is_some(), "the other one cosigned");
    assert!(WitnessKey::parse(&log.keys.verifier).is_err(), "the key of a log is none of a witness");
}
