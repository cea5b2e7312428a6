//! The audit log: every transition is in it, nothing is missing or doubled after a crash, and grants and ends do not depend on it.

use std::{ffi::OsString, path::PathBuf, process::Command, sync::Arc, time::Duration};

use control_plane::{ADMIN, Said, Server, ServiceOptions, program, wait_for_ok};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    audit::{Calls, is},
    cluster_fixture::Setting,
    ensure,
    env::{Env, Error, Outcome, SOON, Scene, TestCase, approved_by, automatic, eligibility},
    test_cases,
};

pub fn test_cases() -> Vec<(&'static str, TestCase)> {
    test_cases![
        t90_every_transition_is_in_the_log_and_follows_from_it,
        t91_retention_waits_for_the_log,
        t92_grants_wait_for_the_log_only_where_it_is_required,
        t93_nothing_is_missing_or_doubled_after_kills_of_the_record,
        t94_a_store_that_fails_delays_no_grant_and_no_end,
    ]
}

/// A control plane with a record, and its log.
struct Recorded {
    scene: Scene,
    folder: TempDir,
    key: String,
    _permit: OwnedSemaphorePermit,
}

impl Recorded {
    async fn start(env: &Arc<Env>, name: &str, values: Value, url: Option<&str>, vars: &[(&str, String)]) -> Result<Self, Error> {
        let folder = TempDir::new()?;
        let keys = folder.path().join("keys");
        std::fs::create_dir(&keys)?;
        let made =
            Command::new(program("kubectl-jit")?).args(["record", "create-key", "e2e.example.com", "-f"]).arg(keys.join("key")).output()?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let key = String::from_utf8(made.stdout)?.trim().to_owned();
        let url = url.map_or_else(|| format!("file://{}", folder.path().join("log").display()), str::to_owned);
        let mut record = json!({"enabled": true, "keySecret": "record-key"});
        if let (Some(record), Some(more)) = (record.as_object_mut(), values.as_object()) {
            record.extend(more.clone());
        }
        let env_of_service = vars.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
        let service = ServiceOptions {
            name: "record".to_owned(),
            settings: json!({"url": url, "keys": keys}),
            env: env_of_service,
            unready: url.starts_with("s3:"),
            reads_rules: true,
        };
        let setting = Setting { values: json!({ "record": record }), services: vec![service], ..Setting::default() };
        let (fixture, permit) = env.fixture_with(setting).await?;
        let scene = env.scene_on(&fixture, name).await?;
        Ok(Self { scene, folder, key, _permit: permit })
    }

    fn service(&self) -> Result<&Server, Error> {
        Ok(self.scene.fixture.operator.service("record")?)
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Runs a subcommand of `kubectl jit record` on the log.
    async fn record(&self, args: &[&str]) -> Result<Said, Error> {
        let log = self.log().display().to_string();
        let all: Vec<&str> = ["record"].into_iter().chain(args.iter().copied()).chain(["--log", &log, "--key", &self.key]).collect();
        Ok(self.scene.fixture.cluster().run_program(ADMIN, &program("kubectl-jit")?, &all, None).await?)
    }

    /// Returns the words of the events of a request, in the order of the log.
    async fn events(&self, request: &str) -> Result<Vec<String>, Error> {
        let said = self.record(&["list", "-o", "json", "-n", &self.scene.name]).await?.ok()?;
        let list: Value = serde_json::from_str(&said)?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let mine = items.iter().filter(|item| item["data"]["object"]["name"] == request);
        Ok(mine.map(|item| item["data"]["event"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// Waits until the log has exactly these events of a request.
    async fn until_events(&self, request: &str, expected: &[&str]) -> Outcome {
        let what = format!("the log to have {expected:?} of {request}");
        let found = wait_for_ok(&what, SOON, async || {
            let found = self.events(request).await.map_err(|error| error.to_string())?;
            if found == expected { Ok(()) } else { Err(format!("it has {found:?}")) }
        });
        Ok(found.await?)
    }

    /// Verifies that everybody accepts the log: this product, and Tessera's fsck where it was built.
    async fn is_accepted(&self) -> Outcome {
        for args in [&["verify"][..], &["check", "--grace", "30s"], &["replay"]] {
            let said = self.record(args).await?;
            ensure!(said.status.success(), "{args:?}: {}{}", said.stdout, said.stderr);
        }
        let key = self.folder.path().join("public");
        std::fs::write(&key, &self.key)?;
        let cache = std::env::var_os("XDG_CACHE_HOME")
            .map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"), PathBuf::from);
        let fsck = cache.join("jit-rbac/tools/record/fsck");
        ensure!(fsck.exists(), "fsck is missing: run 'make record-tools'");
        let output = Command::new(fsck)
            .args(["--ui=false", "--v=1", "--N=4", "--public_key"])
            .arg(&key)
            .arg(format!("--storage_url=file://{}/", self.log().display()))
            .output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(text.contains("Completed ranges") && !text.contains("fsck failed"), "fsck refuses the log: {text}");
        Ok(())
    }
}

async fn t90_every_transition_is_in_the_log_and_follows_from_it(env: Arc<Env>) -> Outcome {
    let recorded = Recorded::start(&env, "recorded", json!({}), None, &[]).await?;
    let scene = &recorded.scene;
    scene.offers(&["self"], &automatic(), &eligibility("view")).await?;
    scene.offers(&["lead"], &approved_by("leads", 1), &eligibility("edit")).await?;
    scene.granted("dev", "self", "4s").await?;
    scene.ask("dev", "lead", "10m").await?;
    scene.until_state("lead", "AwaitingApproval", SOON).await?;
    scene.approve("lead-1", "lead").await?;
    scene.until_state("lead", "Active", SOON).await?;
    scene.write("dev", "adec", &scene.decision("lead", "Deactivate", None)).await?;
    scene.ends_as("lead", "Deactivated", &["DeactivatedByRequester"], SOON).await?;
    recorded.until_events("self", &["Requested", "Granted", "Expired"]).await?;
    recorded.until_events("lead", &["Requested", "WaitingForApproval", "Approved", "Granted", "Deactivated"]).await?;
    recorded.is_accepted().await?;
    let replayed: Value = serde_json::from_str(&recorded.record(&["replay", "--all", "-o", "json"]).await?.ok()?)?;
    ensure!(replayed["grants"] == 2 && replayed["ends"] == 2 && replayed["observed"] == 0, "{replayed}");
    let unproven = recorded.service()?.metric("jitrbac_record_unproven_total").await?;
    ensure!(unproven == 0.0, "{unproven} are not proven");

    // One changed byte of an entry is found, by its name.
    let said = recorded.record(&["list", "--event", "Granted", "-o", "json"]).await?.ok()?;
    let index = serde_json::from_str::<Value>(&said)?["items"][0]["index"].as_u64().ok_or("no grant is listed")?;
    let bundle = std::fs::read_dir(recorded.log().join("tile/entries"))?.next().ok_or("no bundle")??.path();
    let bundle = if bundle.is_dir() {
        let mut parts: Vec<_> = std::fs::read_dir(bundle)?.collect::<Result<_, _>>()?;
        parts.sort_by_key(|part| part.file_name().to_string_lossy().parse::<u64>().unwrap_or_default());
        parts.pop().ok_or("no partial bundle")?.path()
    } else {
        bundle
    };
    let mut bytes = std::fs::read(&bundle)?;
    let granted = b"\"event\":\"Granted\"";
    let place = bytes.windows(granted.len()).position(|window| window == granted).ok_or("no grant in the bundle")?;
    recorded.service()?.kill();
    bytes[place + 9] = b'g';
    let mut permissions = std::fs::metadata(&bundle)?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    std::fs::set_permissions(&bundle, permissions)?;
    std::fs::write(&bundle, bytes)?;
    for command in ["verify", "replay"] {
        let said = recorded.record(&[command]).await?;
        let all = format!("{}{}", said.stdout, said.stderr);
        ensure!(said.status.code() == Some(1) && all.contains("Edited") && all.contains(&index.to_string()), "{command}: {all}");
    }
    Ok(())
}

fn keeping(mut policy: Value, retention: &str) -> Value {
    policy["retention"] = json!(retention);
    policy
}

async fn t91_retention_waits_for_the_log(env: Arc<Env>) -> Outcome {
    let recorded = Recorded::start(&env, "waits", json!({}), None, &[]).await?;
    let scene = &recorded.scene;
    scene.offers(&["kept", "gone"], &keeping(automatic(), "1s"), &eligibility("view")).await?;
    recorded.service()?.kill();
    // A copy, which is restored later.
    let older = recorded.folder.path().join("older");
    ensure!(Command::new("cp").arg("-r").arg(recorded.log()).arg(&older).status()?.success(), "the log cannot be copied");
    let mut calls = Calls::from_now(scene)?;
    scene.granted("dev", "kept", "2s").await?;
    scene.ends_as("kept", "Expired", &[], SOON).await?;
    // Its retention has passed: the controller asks what is recorded, and keeps it.
    calls.first("the look at the Lease", |e| e.verb == "get" && is(e, "leases", "jit-rbac-record")).await?;
    ensure!(scene.get("rar", "kept").await?.is_some(), "it was deleted before it was recorded");
    let said = recorded.record(&["check", "--grace", "1s"]).await?;
    ensure!(said.status.code() == Some(1) && said.stdout.contains("GrantNotRecorded: request"), "{}{}", said.stdout, said.stderr);
    recorded.service()?.start()?;
    recorded.until_events("kept", &["Requested", "Granted", "Expired"]).await?;
    let gone = wait_for_ok("the recorded request to be deleted", Duration::from_mins(1), async || match scene.get("rar", "kept").await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err("it is there".to_owned()),
        Err(error) => Err(error.to_string()),
    });
    gone.await?;
    // The log has it, and it is still valid.
    recorded.until_events("kept", &["Requested", "Granted", "Expired"]).await?;
    recorded.is_accepted().await?;
    // The Lease remembers the log, so that an older copy is found.
    recorded.service()?.kill();
    std::fs::rename(recorded.log(), recorded.folder.path().join("newer"))?;
    std::fs::rename(older, recorded.log())?;
    ensure!(recorded.record(&["verify"]).await?.status.success(), "the older copy is a valid log");
    let said = recorded.record(&["check"]).await?;
    ensure!(said.status.code() == Some(1) && said.stdout.contains("Truncated:"), "{}{}", said.stdout, said.stderr);
    recorded.service()?.start()?;
    let noticed = wait_for_ok("the record to notice", SOON, async || {
        let corrupt = recorded.service().map_err(|error| error.to_string())?.metric("jitrbac_record_corrupt").await?;
        if corrupt > 0.5 { Ok(()) } else { Err("it has not".to_owned()) }
    });
    noticed.await?;
    Ok(())
}

async fn t92_grants_wait_for_the_log_only_where_it_is_required(env: Arc<Env>) -> Outcome {
    let recorded = Recorded::start(&env, "required", json!({"requireWithin": "20s"}), None, &[]).await?;
    let scene = &recorded.scene;
    scene.offers(&["first", "held"], &automatic(), &eligibility("view")).await?;
    let running = scene.granted("dev", "first", "45s").await?;
    recorded.service()?.kill();
    let held = wait_for_ok("a request to be held back", Duration::from_mins(1), async || {
        let name = format!("held-{}", jiff::Timestamp::now().as_millisecond());
        let request = scene.request(&name, &scene.offered("held"), "10m");
        scene.write("dev", "rar", &request).await.map_err(|error| error.to_string())?;
        let status = wait_for_ok("a state", SOON, async || {
            let status = scene.status(&name).await.map_err(|error| error.to_string())?;
            if status["state"].is_string() { Ok(status) } else { Err("none".to_owned()) }
        });
        let status = status.await.map_err(|error| error.to_string())?;
        if status["reason"] == "RecordUnavailable" {
            return Ok(name);
        }
        scene.write("dev", "adec", &scene.decision(&name, "Deactivate", None)).await.map_err(|error| error.to_string())?;
        scene.ends_as(&name, "Deactivated", &[], SOON).await.map_err(|error| error.to_string())?;
        Err(format!("it is {}: {}", status["state"], status["reason"]))
    });
    let held = held.await?;
    ensure!(scene.status(&held).await?["state"] == "Pending", "it was refused");
    // What was granted ends on time.
    let ended = scene.ends_as("first", "Expired", &[], Duration::from_mins(1)).await?;
    ensure!(scene.get("rolebinding", &running.binding).await?.is_none(), "the grant did not end: {ended}");
    recorded.service()?.start()?;
    scene.until_state(&held, "Active", Duration::from_mins(1)).await?;
    Ok(())
}

async fn t93_nothing_is_missing_or_doubled_after_kills_of_the_record(env: Arc<Env>) -> Outcome {
    let recorded = Recorded::start(&env, "killed", json!({}), None, &[]).await?;
    let scene = &recorded.scene;
    let names: Vec<String> = (0..12).map(|number| format!("r{number}")).collect();
    let suffixes: Vec<&str> = names.iter().map(String::as_str).collect();
    scene.offers(&suffixes, &automatic(), &eligibility("view")).await?;
    for (number, name) in names.iter().enumerate() {
        scene.granted("dev", name, "10m").await?;
        if number % 2 == 0 {
            // Killed at some point of its work: before, in or after a checkpoint.
            recorded.service()?.kill();
            recorded.service()?.start()?;
        }
        scene.write("dev", "adec", &scene.decision(name, "Deactivate", None)).await?;
    }
    for name in &names {
        scene.ends_as(name, "Deactivated", &[], SOON).await?;
    }
    recorded.service()?.wait_until_ready(SOON).await?;
    for name in &names {
        recorded.until_events(name, &["Requested", "Granted", "Deactivated"]).await?;
    }
    recorded.is_accepted().await
}

async fn t94_a_store_that_fails_delays_no_grant_and_no_end(env: Arc<Env>) -> Outcome {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let failing = axum::Router::new().fallback(|| async { (axum::http::StatusCode::INTERNAL_SERVER_ERROR, "no") });
    let serving = tokio::spawn(async move { axum::serve(listener, failing).await });
    let vars = [
        ("AWS_ENDPOINT", format!("http://{address}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "id".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
    ];
    let recorded = Recorded::start(&env, "failing", json!({}), Some("s3://audit/log"), &vars).await?;
    let scene = &recorded.scene;
    scene.offers(&["quick"], &automatic(), &eligibility("view")).await?;
    let running = scene.granted("dev", "quick", "3s").await?;
    scene.ends_as("quick", "Expired", &[], SOON).await?;
    ensure!(scene.get("rolebinding", &running.binding).await?.is_none(), "the grant did not end");
    let counted = wait_for_ok("the failures to be counted", SOON, async || {
        let failures = recorded.service().map_err(|error| error.to_string())?.metric("jitrbac_record_store_failures_total").await?;
        if failures > 0.0 { Ok(()) } else { Err("none".to_owned()) }
    });
    counted.await?;
    serving.abort();
    Ok(())
}
